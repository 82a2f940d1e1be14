// A converted image, opened for reading: from a registry, a layout, an archive, or from a bootstrap file alone.
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import type { BlobReader } from '../backend/blob-reader.ts';
import { NaiadError } from '../base/errors.ts';
import { BOOTSTRAP_LAYER_SIZE_MAX, BOOTSTRAP_REST, BOOTSTRAP_SIZE_MAX } from '../base/limits.ts';
import { systemError } from '../base/system-error.ts';
import { decompressStream } from '../codec/stream.ts';
import { BOOTSTRAP_PATHS, bootstrapLayer } from '../format/oci/annotations.ts';
import { digestHex, isDigest } from '../format/oci/digest.ts';
import type { Descriptor, ImageConfig, ImageManifest } from '../format/oci/manifest.ts';
import { Bootstrap } from '../image/bootstrap-reader.ts';
import { fromSomewhere } from './from-somewhere.ts';
import { PartReader } from './layout-source.ts';
import { locate, type Place } from './locate.ts';
import { type MetadataSource, withMetadataCache } from './metadata-cache.ts';
import { type OpenOptions, openSource } from './open.ts';
import { readConfig, resolveImage } from './resolve.ts';
import type { ImageSource, SourceTraffic } from './transport.ts';

export interface ConvertedImage extends AsyncDisposable {
  /** As the user wrote it, normalised. */
  readonly name: string;
  /** Undefined for a bootstrap file, as the next two. */
  readonly manifestDigest: string | undefined;
  readonly manifest: ImageManifest | undefined;
  readonly config: ImageConfig | undefined;
  readonly bootstrapBytes: Uint8Array;
  /** @throws NaiadError BOOTSTRAP_INVALID, BOOTSTRAP_UNSUPPORTED, only when the image was opened leniently */
  readonly bootstrap: Bootstrap;
  /** Bytes fetched before any file can be read: manifests, config and bootstrap layer, less what was kept here. */
  readonly metadataBytes: number;
  /** The registry it is in, as references name it; undefined elsewhere. */
  readonly host: string | undefined;
  /** What the registry behind it was asked so far; undefined elsewhere. */
  readonly traffic: SourceTraffic | undefined;
  /** What it was opened from, for what lies beside it; undefined for a bootstrap file. As long as the image is open. */
  readonly source: ImageSource | undefined;
  /** False for a bootstrap file without blobs beside it. */
  readonly hasBlobs: boolean;
  /** Ranged reads of a blob, for as long as the image is open. `blobId` as the bootstrap lists it. */
  blobReader(blobId: string): BlobReader;
  /** Size of a stored blob where the manifest or the file system tells it. */
  blobSize(blobId: string): number | undefined;
}

export interface OpenImageOptions extends OpenOptions {
  /** `os/architecture[/variant]`, to choose from an index. */
  readonly platform?: string | undefined;
  /** Called when the manifest is here. */
  readonly onResolved?: ((source: ImageSource, manifestDigest: string) => void) | undefined;
  /** Called once, when little of the bootstrap is still to come: what is asked for now does not hold it up. */
  readonly onLineFree?: ((source: ImageSource, manifest: ImageManifest) => void) | undefined;
  /** Does not parse the bootstrap: whoever asks for it gets its errors. For checking. */
  readonly lenient?: boolean;
  /** Where configs and bootstrap layers of registries are kept, and looked for before they are fetched. */
  readonly metadataDir?: string;
  /** Manifests that are there, of references by digest, are not asked for: whoever asks was allowed to have them before. */
  readonly keptFirst?: boolean;
  /** Where the blobs of a bootstrap file are, named by their ids; its own directory when left out. */
  readonly blobDir?: string;
  /** Bootstraps that are open in this process, by the digest of their layer: opened once for all who pass the same map. */
  readonly bootstraps?: Map<string, WeakRef<Bootstrap>>;
}

/** What is kept of the metadata of an image in a registry, as hex digests: manifest, config and bootstrap layer. */
export function metadataDigests({ manifest, manifestDigest }: ConvertedImage): string[] {
  if (!manifest || manifestDigest === undefined) return [];
  const blobs = [manifest.config, ...manifest.layers.slice(-1)].map(({ digest }) => digest);
  return [manifestDigest, ...blobs].map(digestHex);
}

/**
 * Opens an image by reference, or a bootstrap file by path.
 * @throws NaiadError NOT_CONVERTED when it is an ordinary image; what the source and the bootstrap throw
 */
export async function openConvertedImage(
  reference: string | Place,
  options: OpenImageOptions = {},
): Promise<ConvertedImage> {
  const place = typeof reference === 'string' ? locate(reference) : reference;
  if (place.transport === 'file') return await openBootstrapFile(place.file, options);
  const opened = await openSource(place, options);
  const source = withMetadataKept(opened, place, options);
  try {
    const host = place.transport === 'docker' ? place.reference.host : undefined;
    return await openFromSource(source, host, options);
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

function withMetadataKept(source: ImageSource, place: Place, options: OpenImageOptions): ImageSource {
  const { metadataDir: directory, keptFirst } = options;
  if (directory === undefined || place.transport !== 'docker') return source;
  return withMetadataCache(source, { directory, rootDigest: place.reference.digest, keptFirst });
}

async function openFromSource(
  source: ImageSource & Partial<MetadataSource>,
  host: string | undefined,
  options: OpenImageOptions,
): Promise<ConvertedImage> {
  const { signal, platform } = options;
  const lineFree = once(() => options.onLineFree?.(source, manifest));
  if (options.onLineFree) source.connectAhead?.();
  const { root, raw, manifest } = await resolveImage(source, { platform, converted: 'prefer', signal });
  const layer = bootstrapLayer(manifest);
  if (!layer) {
    throw new NaiadError('NOT_CONVERTED', `${source.name}: this is an ordinary image`, {
      hint: `Convert it first: naiad convert ${source.name} TARGET`,
    });
  }
  const known = options.lenient ? undefined : options.bootstraps?.get(layer.digest)?.deref();
  // In this order, and before whatever else is asked for now: the bootstrap gets the connection that the manifest came over.
  const reading = Promise.all([
    known?.bytes ?? fromSomewhere(source, layer, signal, () => readBootstrapLayer(source, layer, { signal, lineFree })),
    readConfig(source, manifest, signal),
  ]);
  options.onResolved?.(source, raw.digest);
  const [bootstrapBytes, { config }] = await reading;
  lineFree();
  const blobs = new Map(manifest.layers.slice(0, -1).map((blob) => [digestHex(blob.digest), blob]));
  const manifests = root === raw ? raw.bytes.length : root.bytes.length + raw.bytes.length;
  const bootstrap = known ?? (options.lenient ? undefined : Bootstrap.parse(bootstrapBytes));
  if (bootstrap) options.bootstraps?.set(layer.digest, new WeakRef(bootstrap));
  await source.kept?.();
  return withBootstrap(bootstrapBytes, bootstrap, {
    name: source.name,
    source,
    manifestDigest: raw.digest,
    manifest,
    config,
    metadataBytes: manifests + manifest.config.size + (known ? 0 : layer.size) - (source.keptBytes ?? 0),
    host,
    get traffic() {
      return source.traffic;
    },
    hasBlobs: true,
    // A blob of a chunk dict may be missing among the layers and in the repository all the same.
    blobReader: (blobId) => source.blobReader(blobs.get(blobId) ?? { digest: digestOf(blobId) }),
    blobSize: (blobId) => blobs.get(blobId)?.size,
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  });
}

function digestOf(blobId: string): string {
  const digest = `sha256:${blobId}`;
  if (!isDigest(digest)) throw new NaiadError('BOOTSTRAP_INVALID', `blob id ${JSON.stringify(blobId)} is no digest`);
  return digest;
}

type Parts = Omit<ConvertedImage, 'bootstrap' | 'bootstrapBytes'>;

function withBootstrap(bootstrapBytes: Uint8Array, opened: Bootstrap | undefined, parts: Parts): ConvertedImage {
  let parsed = opened;
  return {
    ...parts,
    get traffic() {
      return parts.traffic;
    },
    bootstrapBytes,
    get bootstrap() {
      parsed ??= Bootstrap.parse(bootstrapBytes);
      return parsed;
    },
  };
}

/**
 * The bootstrap out of the layer that holds it. The layer's digest is verified to its end, and what it decompresses to is
 * bounded.
 */
async function readBootstrapLayer(
  source: ImageSource,
  layer: Descriptor,
  { signal, lineFree }: { readonly signal: AbortSignal | undefined; readonly lineFree: () => void },
): Promise<Uint8Array> {
  const what = `bootstrap layer ${layer.digest} of ${source.name}`;
  if (layer.size > BOOTSTRAP_SIZE_MAX) {
    throw new NaiadError('LIMIT_EXCEEDED', `${what}: ${layer.size} bytes, at most ${BOOTSTRAP_SIZE_MAX} are read`);
  }
  const opening = source.openBlob(layer, signal);
  if (layer.size <= BOOTSTRAP_REST) setImmediate(lineFree); // After that has been asked for.
  const stored = tellingNearEnd(await opening, layer.size, lineFree);
  const tar = bounded(decompressStream(stored, { signal }), what);
  const found = new Map<string, Uint8Array>();
  const members = extract();
  members.on('entry', (header, body, next) => {
    const name = header.name.replace(/^(?:\.?\/)+/, '');
    const isBootstrap = header.type === 'file' && (BOOTSTRAP_PATHS as readonly string[]).includes(name);
    const pieces: Uint8Array[] = [];
    let size = 0;
    // The end of a broken tar is reported by both streams; the pipeline's is the one that counts.
    body.on('error', () => {});
    body.on('data', (piece) => {
      if (!isBootstrap) return;
      size += (piece as Uint8Array).length;
      if (size <= BOOTSTRAP_SIZE_MAX) pieces.push(piece as Uint8Array);
    });
    body.on('end', () => {
      if (size > BOOTSTRAP_SIZE_MAX) {
        next(new NaiadError('LIMIT_EXCEEDED', `${what}: its bootstrap has more than ${BOOTSTRAP_SIZE_MAX} bytes`));
        return;
      }
      if (isBootstrap) found.set(name, Buffer.concat(pieces, size));
      next();
    });
  });
  try {
    await pipeline(Readable.from(tar, { objectMode: false, highWaterMark: 0 }), members);
  } catch (error) {
    if (error instanceof NaiadError) throw error;
    throw new NaiadError('ARCHIVE_INVALID', `${what}: ${(error as Error).message}`, { cause: error });
  }
  for (const path of BOOTSTRAP_PATHS) {
    const bytes = found.get(path);
    if (bytes) return bytes;
  }
  throw new NaiadError('BOOTSTRAP_INVALID', `${what}: its tar holds no ${BOOTSTRAP_PATHS[0]}`);
}

/** Calls `onNear` when no more than BOOTSTRAP_REST of `size` bytes are still to come. */
async function* tellingNearEnd(
  stream: AsyncIterable<Uint8Array>,
  size: number,
  onNear: () => void,
): AsyncGenerator<Uint8Array, void, void> {
  let left = size;
  for await (const piece of stream) {
    left -= piece.length;
    if (left <= BOOTSTRAP_REST) onNear();
    yield piece;
  }
}

function once(step: () => void): () => void {
  let done = false;
  return () => {
    if (!done) step();
    done = true;
  };
}

async function* bounded(stream: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<Uint8Array, void, void> {
  let size = 0;
  for await (const piece of stream) {
    size += piece.length;
    if (size > BOOTSTRAP_LAYER_SIZE_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `${what}: decompresses to more than ${BOOTSTRAP_LAYER_SIZE_MAX} bytes`);
    }
    yield piece;
  }
}

async function openBootstrapFile(file: string, options: OpenImageOptions): Promise<ConvertedImage> {
  const bootstrapBytes = await readBootstrapFile(file);
  const directory = options.blobDir ?? dirname(file);
  const readers = new Map<string, PartReader>();
  const sizes = await blobSizes(bootstrapBytes, directory);
  const bootstrap = options.lenient ? undefined : Bootstrap.parse(bootstrapBytes);
  return withBootstrap(bootstrapBytes, bootstrap, {
    name: file,
    source: undefined,
    manifestDigest: undefined,
    manifest: undefined,
    config: undefined,
    metadataBytes: bootstrapBytes.length,
    host: undefined,
    hasBlobs: sizes.complete,
    traffic: undefined,
    blobSize: (blobId) => sizes.known.get(blobId),
    blobReader(blobId) {
      const path = join(directory, digestHex(digestOf(blobId)));
      const reader = readers.get(blobId) ?? new PartReader(path, async () => await blobPart(path));
      readers.set(blobId, reader);
      return reader;
    },
    async [Symbol.asyncDispose]() {
      for (const reader of readers.values()) await reader[Symbol.asyncDispose]();
    },
  });
}

async function readBootstrapFile(file: string): Promise<Uint8Array> {
  try {
    const found = await stat(file);
    if (found.isDirectory()) {
      throw new NaiadError('REFERENCE_INVALID', `${file}: this is a directory, no bootstrap file`, {
        hint: `If it is an OCI layout, write oci:${file}`,
      });
    }
    if (found.size > BOOTSTRAP_SIZE_MAX) {
      throw new NaiadError('LIMIT_EXCEEDED', `${file}: ${found.size} bytes, at most ${BOOTSTRAP_SIZE_MAX} are read`);
    }
    return await readFile(file);
  } catch (error) {
    throw systemError(error, `reading ${file}`);
  }
}

async function blobPart(path: string) {
  try {
    const { size } = await stat(path);
    return { path, offset: 0, size };
  } catch (error) {
    throw new NaiadError('BLOB_NOT_FOUND', `${path}: the blob is not there`, {
      hint: 'Put the blobs beside the bootstrap, each under its id, or name the image by its reference.',
      cause: error,
    });
  }
}

/** Which blobs lie in the directory; `complete` when all that the bootstrap names do. */
async function blobSizes(
  bootstrapBytes: Uint8Array,
  directory: string,
): Promise<{ readonly known: ReadonlyMap<string, number>; readonly complete: boolean }> {
  const known = new Map<string, number>();
  let ids: string[];
  try {
    ids = Bootstrap.parse(bootstrapBytes).blobs.map(({ blobId }) => blobId);
  } catch (error) {
    if (error instanceof NaiadError) return { known, complete: false };
    throw error;
  }
  for (const id of ids) {
    const found = isDigest(`sha256:${id}`) ? await stat(join(directory, id)).catch(() => undefined) : undefined;
    if (found?.isFile()) known.set(id, found.size);
  }
  return { known, complete: ids.every((id) => known.has(id)) };
}
