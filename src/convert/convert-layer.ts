// One layer of the source becomes a tree and a blob.
import { short } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import { decompressStream } from '../codec/stream.ts';
import type { BlobInfo } from '../image/blob-info.ts';
import type { FileTree, NodeId } from '../image/file-tree.ts';
import type { FileEntry, LayerEntry } from '../image/layer-entry.ts';
import type { ChunkRef } from '../image/tree.ts';
import { createStreamHash } from '../native/stream-hash.ts';
import { readLayerTar } from '../tar/read-layer.ts';
import type { OnSkipped } from '../tar/xattrs.ts';
import { LayerBlob, type LayerBlobOptions } from './layer-blob.ts';
import { LayerBuilder } from './layer-builder.ts';
import type { LayerRecorder } from './layer-recorder.ts';

export interface ConvertedLayer {
  /** What the layer has and removes, see FileTree. */
  readonly root: NodeId;
  /** Undefined when the layer has no file data. */
  readonly blob: BlobInfo | undefined;
  readonly files: number;
  /** Names the layer brings, implied parents included. */
  readonly entries: number;
  /** Chunks of all files and their bytes, before any is shared. */
  readonly chunks: number;
  readonly bytes: number;
}

export interface LayerOptions extends LayerBlobOptions {
  /** Where the nodes of the layer are made. */
  readonly tree: FileTree;
  /** Told of every entry and of its chunks. */
  readonly recorder?: LayerRecorder | undefined;
}

/** Converts a stream of entries. The blob is at `options.path`, empty when there is none. */
export async function convertEntries(
  entries: AsyncIterable<LayerEntry>,
  options: LayerOptions & { readonly whiteouts: boolean },
): Promise<ConvertedLayer> {
  await using blob = await LayerBlob.create(options);
  const builder = new LayerBuilder(options);
  let chunks: readonly ChunkRef[] = [];
  const chunksOf = async (file: FileEntry) => {
    chunks = await blob.addFile(file.size, file.body);
    return chunks;
  };
  for await (const entry of entries) {
    chunks = [];
    await builder.add(entry, chunksOf);
    await options.recorder?.add(entry, chunks);
  }
  const info = await blob.finish();
  const { root, files, entries: names } = builder;
  return { root, blob: info, files, entries: names, chunks: blob.chunksSeen, bytes: blob.bytesSeen };
}

export interface LayerStream {
  /** The layer as stored; its digest is verified by whoever streams it. */
  readonly stored: AsyncIterable<Uint8Array>;
  /** Digest of the uncompressed tar, as the image's config has it. */
  readonly diffId: string;
  readonly signal?: AbortSignal | undefined;
  readonly onSkipped?: OnSkipped | undefined;
  /** Called with the bytes of tar read so far. */
  readonly onProgress?: ((tarBytes: number) => void) | undefined;
}

/**
 * Converts a stored layer, and verifies its diffID.
 * @throws NaiadError DIGEST_MISMATCH, and what reading tars and writing blobs throws
 */
export async function convertLayer(
  layer: LayerStream,
  options: LayerOptions,
): Promise<ConvertedLayer & { tarSize: number }> {
  const { signal, onSkipped } = layer;
  const hash = createStreamHash();
  let tarSize = 0;
  const tar = async function* () {
    for await (const piece of decompressStream(layer.stored, { signal })) {
      await hash.settled();
      hash.push(piece);
      tarSize += piece.length;
      layer.onProgress?.(tarSize);
      yield piece;
    }
  };
  const converted = await convertEntries(readLayerTar(tar(), { signal, onSkipped }), { ...options, whiteouts: true });
  await hash.settled();
  const diffId = `sha256:${hash.digest().toString('hex')}`;
  if (diffId !== layer.diffId) {
    throw new NaiadError(
      'DIGEST_MISMATCH',
      `uncompressed layer: the config says ${short(layer.diffId)}, the bytes are ${short(diffId)}`,
      { hint: 'the image is inconsistent: its config does not belong to these layers' },
    );
  }
  return { ...converted, tarSize };
}
