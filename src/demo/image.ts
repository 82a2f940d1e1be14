// A plan becomes an ordinary OCI image: gzipped tars on disk, a config and a manifest, and from there into a registry.
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack as createPack, type Pack } from 'tar-stream';
import { forEachBounded } from '../base/concurrency.ts';
import { systemError } from '../base/system-error.ts';
import { MiB } from '../base/units.ts';
import { digesting } from '../codec/digesting.ts';
import { type JsonBlob, jsonBlob, manifestOf } from '../format/oci/documents.ts';
import type { Descriptor, RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES } from '../format/oci/media-types.ts';
import { linuxPlatform } from '../format/oci/platform.ts';
import { openTarget } from '../transport/open.ts';
import type { LayerFile, LayerPlan, NodePlan } from './node-files.ts';

export interface BuiltLayer {
  readonly what: string;
  readonly files: number;
  readonly tarSize: number;
  readonly diffId: string;
  readonly descriptor: Descriptor;
  /** Where it lies. */
  readonly path: string;
}

export interface BuiltImage {
  readonly layers: readonly BuiltLayer[];
  readonly config: JsonBlob;
  readonly manifest: RawManifest;
}

/** gzip runs in Node's thread pool: two layers at once use two cores. */
const LAYERS_IN_FLIGHT_MAX = 2;

/** Writes the layers below `directory`. The same Node gives the same image. @throws NaiadError NO_SPACE, PERMISSION, IO, CANCELED */
export async function buildImage(plan: NodePlan, directory: string, signal: AbortSignal): Promise<BuiltImage> {
  const layers: BuiltLayer[] = [];
  await forEachBounded(
    plan.layers.entries(),
    { inFlightMax: LAYERS_IN_FLIGHT_MAX, signal },
    async ([index, layer], own) => {
      layers[index] = await buildLayer(layer, join(directory, `layer-${index}`), own);
    },
  );
  const { program } = plan;
  const config = jsonBlob({
    ...linuxPlatform(process.arch),
    config: {
      Cmd: [program.node, program.script],
      Env: ['PATH=/usr/local/bin:/usr/bin:/bin', `LD_LIBRARY_PATH=${program.libraryDirs.join(':')}`],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    history: layers.map(({ what }) => ({ created: '1970-01-01T00:00:00Z', created_by: `naiad demo: ${what}` })),
  });
  const descriptors = layers.map(({ descriptor }) => descriptor);
  const manifest = manifestOf(MEDIA_TYPES.ociManifest, { config: config.descriptor, layers: descriptors });
  return { layers, config, manifest };
}

/** Puts the image where `reference` says. */
export async function publishImage(image: BuiltImage, reference: string, signal: AbortSignal): Promise<void> {
  await using target = await openTarget(reference, { signal });
  for (const { path, descriptor } of image.layers) await target.putBlob({ path, descriptor }, { signal });
  await target.putBytes(image.config.descriptor, image.config.bytes, signal);
  await target.commit(image.manifest, signal);
}

async function buildLayer(plan: LayerPlan, path: string, signal: AbortSignal): Promise<BuiltLayer> {
  const tar = createPack();
  const [diff, stored] = [digesting(), digesting()];
  const packed = packFiles(tar, plan.files);
  try {
    const gzip = createGzip({ chunkSize: 1 * MiB });
    const readable = tar as unknown as NodeJS.ReadableStream;
    const written = pipeline(readable, diff.stream, gzip, stored.stream, createWriteStream(path), { signal });
    await Promise.all([packed, written]);
  } catch (error) {
    tar.destroy();
    await packed.catch(() => {});
    throw signal.aborted ? signal.reason : systemError(error, `writing the layer of ${plan.what}`);
  }
  const { digest, size } = stored.result();
  return {
    what: plan.what,
    files: plan.files.length,
    tarSize: diff.result().size,
    diffId: diff.result().digest,
    descriptor: { mediaType: MEDIA_TYPES.ociLayerGzip, digest, size },
    path,
  };
}

async function packFiles(tar: Pack, files: readonly LayerFile[]): Promise<void> {
  const common = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(0) };
  const directories = new Set<string>(['']);
  for (const { path, mode, content } of files) {
    const names = path.slice(1).split('/');
    for (let depth = 1; depth < names.length; depth++) {
      const name = names.slice(0, depth).join('/');
      if (directories.has(name)) continue;
      directories.add(name);
      tar.entry({ ...common, name, type: 'directory', mode: 0o755 });
    }
    const name = names.join('/');
    if ('link' in content) {
      tar.entry({ ...common, name, type: 'symlink', mode, linkname: content.link });
      continue;
    }
    const size = 'file' in content ? content.size : content.bytes.length;
    const sink = tar.entry({ ...common, name, type: 'file', mode, size }) as unknown as NodeJS.WritableStream;
    const bytes = 'file' in content ? createReadStream(content.file, { highWaterMark: 1 * MiB }) : [content.bytes];
    await pipeline(Readable.from(bytes), sink);
  }
  tar.finalize();
}
