// A converted image back to an ordinary one, of one layer: for whoever cannot mount it, or will not any more.
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { ByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { systemError } from '../base/system-error.ts';
import { digesting } from '../codec/digesting.ts';
import { withoutConversion } from '../format/oci/annotations.ts';
import { type JsonBlob, jsonBlob, manifestOf } from '../format/oci/documents.ts';
import { keptHistory } from '../format/oci/history.ts';
import type { Descriptor, ImageConfig, ImageManifest, RawManifest } from '../format/oci/manifest.ts';
import { MEDIA_TYPES } from '../format/oci/media-types.ts';
import type { Bootstrap } from '../image/bootstrap-reader.ts';
import { type Attributes, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../image/tree.ts';
import { displayPath, type WalkedName, walk } from '../image/walk.ts';
import { type WrittenEntry, writeLayerTar } from '../tar/write-layer.ts';
import type { ConvertedImage } from '../transport/image.ts';
import { refuseOnePlace } from '../transport/locate.ts';
import type { ImageTarget } from '../transport/transport.ts';
import { DeviceSpool } from './device-spool.ts';

export interface OrdinaryReport {
  /** Digest of the manifest. */
  readonly manifest: string;
  readonly names: number;
  /** Uncompressed bytes of distinct chunks. */
  readonly bytes: number;
  /** Of the layer, as stored. */
  readonly layerSize: number;
  /** What no layer can hold, with how often it was left out and the first path. */
  readonly skipped: readonly { readonly what: string; readonly count: number; readonly example: string }[];
}

export interface OrdinaryHooks {
  readonly signal: AbortSignal;
  readonly onProgress?: (state: { readonly done: number; readonly total?: number; readonly text: string }) => void;
}

/**
 * Writes `image` to `target` as an image with one gzipped layer, and commits it. Same image, same digests.
 * @throws NaiadError USAGE for a bootstrap alone, and for one place as both; what reading the image and putting throw
 */
export async function writeOrdinaryImage(
  image: ConvertedImage,
  target: ImageTarget,
  { signal, onProgress }: OrdinaryHooks,
): Promise<OrdinaryReport> {
  const { bootstrap, config, manifest } = image;
  if (!config || !manifest) {
    throw new NaiadError('USAGE', `${image.name} is a bootstrap alone: there is no config for an image of it`);
  }
  refuseOnePlace(image.name, target.name, 'Give the ordinary image another name: the converted one would be lost.');
  await using spool = await DeviceSpool.fill({
    bootstrap,
    readerOf: (blobId) => image.blobReader(blobId),
    directory: target.spoolDir,
    signal,
    onProgress: (state) => onProgress?.({ ...state, text: 'fetching' }),
  });
  const entries = new Entries(bootstrap, spool);
  const path = join(target.spoolDir, 'layer');
  const { layer, diffId } = await writeLayer(entries.all(), path, {
    signal,
    onProgress: (done) => onProgress?.({ done, text: 'writing the layer' }),
  });
  const made = describeImage(layer, diffId, config, manifest);
  onProgress?.({ done: 0, text: 'pushing' });
  await target.putBlob({ path, descriptor: layer }, { signal });
  await target.putBytes(made.config.descriptor, made.config.bytes, signal);
  await target.commit(made.manifest, signal);
  const { names, skipped } = entries;
  return { manifest: made.manifest.digest, names, bytes: spool.size, layerSize: layer.size, skipped };
}

/** The names of an image as entries of a layer. */
class Entries {
  names = 0;
  readonly #bootstrap: Bootstrap;
  readonly #spool: DeviceSpool;
  readonly #skipped = new Map<string, { count: number; example: string }>();
  /** First path of each inode that has several. */
  readonly #firsts = new Map<number, readonly ByteString[]>();

  constructor(bootstrap: Bootstrap, spool: DeviceSpool) {
    this.#bootstrap = bootstrap;
    this.#spool = spool;
  }

  get skipped(): OrdinaryReport['skipped'] {
    return [...this.#skipped].map(([what, { count, example }]) => ({ what, count, example }));
  }

  *all(): Iterable<WrittenEntry> {
    for (const name of walk(this.#bootstrap)) {
      const why = unwritable(name);
      if (why === undefined) {
        this.names++;
        yield this.#entry(name);
      } else {
        const known = this.#skipped.get(why) ?? { count: 0, example: displayPath(name.path) };
        this.#skipped.set(why, { ...known, count: known.count + 1 });
      }
    }
  }

  #entry({ path, inode }: WalkedName): WrittenEntry {
    const { mode, uid, gid, mtimeSec, mtimeNsec } = inode;
    const xattrs = this.#bootstrap.xattrs(inode.nid);
    const attributes: Attributes = { mode, uid, gid, mtimeSec, mtimeNsec, xattrs };
    const type = mode & S_IFMT;
    if (type === S_IFDIR) return { kind: 'directory', path, attributes };
    const first = this.#firsts.get(inode.nid);
    if (first) return { kind: 'link', path, target: first, attributes };
    if (inode.nlink > 1) this.#firsts.set(inode.nid, path);
    if (type === S_IFREG) {
      return { kind: 'file', path, attributes, size: inode.size, body: this.#spool.read(inode) };
    }
    if (type === S_IFLNK) return { kind: 'symlink', path, attributes, target: this.#bootstrap.readlink(inode.nid) };
    return { kind: 'special', path, attributes, rdev: inode.rdev };
  }
}

/** Why a name cannot be in a layer. */
function unwritable({ path, inode }: WalkedName): string | undefined {
  if ((inode.mode & S_IFMT) === S_IFSOCK) return 'sockets';
  // In a layer it would mean that something is gone.
  if (path.some((name) => name.startsWith('.wh.'))) return 'names that begin with .wh.';
  return undefined;
}

async function writeLayer(
  entries: Iterable<WrittenEntry>,
  path: string,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (tarBytes: number) => void },
): Promise<{ readonly layer: Descriptor; readonly diffId: string }> {
  const diff = digesting();
  const stored = digesting();
  let done = 0;
  const tar = async function* () {
    for await (const piece of writeLayerTar(entries)) {
      done += piece.length;
      onProgress(done);
      yield piece;
    }
  };
  try {
    await pipeline(tar, diff.stream, createGzip(), stored.stream, createWriteStream(path), { signal });
  } catch (error) {
    throw systemError(error, `writing ${path}`);
  }
  return { layer: { mediaType: MEDIA_TYPES.ociLayerGzip, ...stored.result() }, diffId: diff.result().digest };
}

function describeImage(
  layer: Descriptor,
  diffId: string,
  { raw }: ImageConfig,
  { layers, annotations = {} }: ImageManifest,
): { readonly config: JsonBlob; readonly manifest: RawManifest } {
  const history = keptHistory(raw.history, Array(layers.length).fill(false));
  const step = { created_by: 'naiad unpack', comment: 'all layers of a converted image' };
  const document = { ...raw, rootfs: { type: 'layers', diff_ids: [diffId] }, history: [...history, step] };
  const config = jsonBlob(document);
  const fields = { config: config.descriptor, layers: [layer], annotations: withoutConversion(annotations) };
  return { config, manifest: manifestOf(MEDIA_TYPES.ociManifest, fields) };
}
