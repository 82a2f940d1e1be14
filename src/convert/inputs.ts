// What a conversion can start from: an image of any transport, or a root directory.
import { displayBytes } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { isConverted } from '../format/oci/annotations.ts';
import type { Descriptor, Platform } from '../format/oci/manifest.ts';
import { layerKind } from '../format/oci/media-types.ts';
import { linuxPlatform, parsePlatform } from '../format/oci/platform.ts';
import { readDirectory } from '../tar/directory.ts';
import { type ResolvedImage, readConfig } from '../transport/resolve.ts';
import type { ImageSource } from '../transport/transport.ts';
import type { ConvertInput } from './convert.ts';
import { convertEntries, convertLayer } from './convert-layer.ts';
import type { LayerInput } from './layer-input.ts';

/**
 * Reads the config of an image; its layers are read when they are converted.
 * @throws NaiadError ALREADY_CONVERTED, MEDIA_TYPE_UNSUPPORTED, MANIFEST_INVALID, …
 */
export async function imageInput(
  source: ImageSource,
  { manifest, raw }: Pick<ResolvedImage, 'manifest' | 'raw'>,
  signal: AbortSignal,
): Promise<ConvertInput> {
  if (isConverted(manifest)) {
    throw new NaiadError('ALREADY_CONVERTED', `${source.name} is a converted image already`, {
      hint: 'Convert the original, or copy this one with skopeo.',
    });
  }
  const { config } = await readConfig(source, manifest, signal);
  if (config.diffIds.length !== manifest.layers.length) {
    const counts = `${manifest.layers.length} layers in the manifest, ${config.diffIds.length} in the config`;
    throw new NaiadError('MANIFEST_INVALID', `${source.name}: ${counts}`);
  }
  for (const layer of manifest.layers) checkLayer(layer, source.name);
  return {
    layers: manifest.layers.map((layer, index) => imageLayer(source, layer, config.diffIds[index] as string)),
    config: config.raw,
    annotations: manifest.annotations ?? {},
    source: { digest: raw.digest, ...referenceOf(source) },
  };
}

/** Where a source is, when that is a registry: other places mean nothing on another machine. */
export function referenceOf({ name }: ImageSource): { readonly reference?: string } {
  const reference = /^docker:\/\/(.*)$/.exec(name)?.[1];
  return reference === undefined ? {} : { reference };
}

/** Known types are refused by name; unknown ones are tried: what is no tar fails when it is read. */
function checkLayer(layer: Descriptor, name: string): void {
  const kind = layerKind(layer.mediaType).kind;
  if (kind !== 'foreign' && kind !== 'rafs-blob') return;
  const what = kind === 'foreign' ? 'is kept outside of registries' : 'is a blob of a converted image';
  throw new NaiadError('MEDIA_TYPE_UNSUPPORTED', `${name}: layer ${layer.digest} ${what} (${layer.mediaType})`);
}

function imageLayer(source: ImageSource, layer: Descriptor, diffId: string): LayerInput {
  return {
    id: `${layer.digest} ${diffId}`,
    size: layer.size,
    async convert({ into, signal, onSkipped, onRead }) {
      const stored = counted(await source.openBlob(layer, signal), onRead);
      try {
        return await convertLayer({ stored, diffId, signal, onSkipped }, into);
      } catch (error) {
        throw named(error, `layer ${layer.digest}`);
      }
    },
  };
}

/** A directory tree as an image of one layer, for `os/architecture[/variant]`; this machine's when left out. */
export function directoryInput(root: string, wanted: string | undefined): ConvertInput {
  const platform: Platform = wanted ? parsePlatform(wanted) : linuxPlatform(process.arch);
  const layer: LayerInput = {
    size: undefined,
    async convert({ into, signal, onSkipped, onRead }) {
      const entries = readDirectory(root, { signal, onSkipped });
      const converted = await convertEntries(entries, { ...into, whiteouts: false });
      onRead(converted.bytes);
      return { ...converted, tarSize: converted.bytes };
    },
  };
  const { os, architecture, variant } = platform;
  return {
    layers: [layer],
    config: {
      architecture,
      os,
      ...(variant && { variant }),
      config: {},
      history: [{ created_by: 'naiad convert dir:' }],
    },
    annotations: {},
    source: {},
  };
}

async function* counted(bytes: AsyncIterable<Uint8Array>, onRead: (size: number) => void): AsyncGenerator<Uint8Array> {
  for await (const piece of bytes) {
    onRead(piece.length);
    yield piece;
  }
}

/** Says which layer it was that a failure came from. */
function named(error: unknown, what: string): unknown {
  if (!(error instanceof NaiadError) || error.kind === 'canceled' || error.message.includes(what)) return error;
  const { hint } = error;
  return new NaiadError(error.code, `${displayBytes(what)}: ${error.message}`, {
    cause: error.cause,
    ...(hint !== undefined && { hint }),
  });
}
