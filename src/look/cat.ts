// A file's bytes out of an image, in order, verified chunk by chunk; never the whole file in memory.
import type { BlobReader } from '../backend/blob-reader.ts';
import { openDevices } from '../backend/devices.ts';
import type { ByteString } from '../base/bytes.ts';
import { NaiadError } from '../base/errors.ts';
import type { Bootstrap, ChunkAddress } from '../image/bootstrap-reader.ts';
import { resolvePath } from '../image/image-path.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../image/tree.ts';
import { displayPath } from '../image/walk.ts';
import { streamChunks } from './chunk-stream.ts';

/** @throws NaiadError PATH_NOT_FOUND; USAGE when the path is no regular file. */
export async function* catFile(
  bootstrap: Bootstrap,
  readerOf: (blobId: string) => BlobReader,
  path: readonly ByteString[],
  signal?: AbortSignal,
): AsyncIterable<Uint8Array> {
  const { nid } = resolvePath(bootstrap, path, { followLast: true });
  const { mode } = bootstrap.inode(nid);
  if ((mode & S_IFMT) !== S_IFREG) {
    const what = (mode & S_IFMT) === S_IFDIR ? 'a directory' : 'not a regular file';
    throw new NaiadError('USAGE', `${displayPath(path)} is ${what}`);
  }
  const devices = await openDevices(bootstrap, readerOf, signal);
  for (const run of ascendingRuns(bootstrap.chunkAddresses(nid))) {
    const device = devices[run.blobIndex];
    if (!device) throw new NaiadError('BUG', `no device ${run.blobIndex}`);
    for await (const { bytes } of streamChunks(device, readerOf(device.blobId), run.indices, { signal })) yield bytes;
  }
}

/** Chunks in file order, cut where the blob changes or the order in the blob is not the file's. */
function* ascendingRuns(addresses: readonly ChunkAddress[]): Iterable<{ blobIndex: number; indices: number[] }> {
  let run: { blobIndex: number; indices: number[] } | undefined;
  for (const { blobIndex, chunkIndex } of addresses) {
    if (run && run.blobIndex === blobIndex && chunkIndex > (run.indices.at(-1) as number)) run.indices.push(chunkIndex);
    else {
      if (run) yield run;
      run = { blobIndex, indices: [chunkIndex] };
    }
  }
  if (run) yield run;
}
