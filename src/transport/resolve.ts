// From a source to the manifest of one image, through indexes where there are any.
import { NaiadError } from '../base/errors.ts';
import { CONFIG_SIZE_MAX, INDEX_DEPTH_MAX } from '../base/limits.ts';
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  parseConfig,
  parseDocument,
  type RawManifest,
} from '../format/oci/manifest.ts';
import { choosePlatform, linuxPlatform, parsePlatform } from '../format/oci/platform.ts';
import { fromSomewhere } from './from-somewhere.ts';
import type { ImageSource } from './transport.ts';

export interface ResolvedImage {
  /** What the reference names: an index, or the manifest itself. */
  readonly root: RawManifest;
  readonly raw: RawManifest;
  readonly manifest: ImageManifest;
  /** The entry of the index that was chosen, if there was an index. */
  readonly entry: Descriptor | undefined;
}

export interface ResolveOptions {
  /** `os/architecture[/variant]`; this machine's when left out. */
  readonly platform?: string | undefined;
  /** Of an index with both kinds: never the converted one (a source), or that one (a mount). */
  readonly converted: 'skip' | 'prefer';
  readonly signal?: AbortSignal | undefined;
}

/** @throws NaiadError IMAGE_NOT_FOUND, PLATFORM_NOT_FOUND, MANIFEST_INVALID, … */
export async function resolveImage(source: ImageSource, options: ResolveOptions): Promise<ResolvedImage> {
  const platform = options.platform ? parsePlatform(options.platform) : linuxPlatform(process.arch);
  const root = await source.rootManifest(options.signal);
  let raw = root;
  let entry: Descriptor | undefined;
  for (let depth = 0; depth <= INDEX_DEPTH_MAX; depth++) {
    const document = parseDocument(raw.bytes, raw.mediaType);
    if (document.kind === 'manifest') return { root, raw, manifest: document.manifest, entry };
    entry = choosePlatform(document.index, platform, options);
    raw = await source.manifest(entry, options.signal);
  }
  throw new NaiadError('MANIFEST_INVALID', `${source.name}: indexes lie in indexes, more than ${INDEX_DEPTH_MAX} deep`);
}

/** The config of an image, verified. */
export async function readConfig(
  source: ImageSource,
  manifest: Pick<ImageManifest, 'config'>,
  signal?: AbortSignal,
): Promise<{ readonly config: ImageConfig; readonly bytes: Uint8Array }> {
  const bytes = await readBlob(source, manifest.config, { sizeMax: CONFIG_SIZE_MAX, what: 'config', signal });
  return { config: parseConfig(bytes), bytes };
}

/** A small blob whole, verified. @throws NaiadError LIMIT_EXCEEDED before anything is read */
export async function readBlob(
  source: ImageSource,
  descriptor: Pick<Descriptor, 'digest' | 'size'>,
  options: { readonly sizeMax: number; readonly what: string; readonly signal?: AbortSignal | undefined },
): Promise<Uint8Array> {
  if (descriptor.size > options.sizeMax) {
    const what = `${options.what} of ${source.name}: ${descriptor.size} bytes`;
    throw new NaiadError('LIMIT_EXCEEDED', `${what}, at most ${options.sizeMax} are read`);
  }
  return await fromSomewhere(source, descriptor, options.signal, async () => {
    const bytes = Buffer.alloc(descriptor.size);
    let filled = 0;
    for await (const piece of await source.openBlob(descriptor, options.signal)) {
      bytes.set(piece, filled);
      filled += piece.length;
    }
    return bytes;
  });
}
