// Zeros that are known to be zeros: the holes of sparse files, which may be terabytes, need not be looked at.
import { CHUNK_SIZE_MAX } from './limits.ts';

/** Never written to, so that the kernel gives it no memory; a whole chunk of any size is in one piece. */
const ZEROS: Uint8Array = new Uint8Array(CHUNK_SIZE_MAX);

/** The zeros from `start` to `end` of a file, cut where the largest chunks end; all are views of one shared memory. */
export function* zeroPieces(start: number, end: number): Generator<Uint8Array> {
  for (let at = start; at < end; ) {
    const step = Math.min(end - at, ZEROS.length - (at % ZEROS.length));
    yield ZEROS.subarray(0, step);
    at += step;
  }
}

/** True only for what `zeroPieces` gave, and parts of it. */
export function isZeroPiece(bytes: Uint8Array): boolean {
  return bytes.buffer === ZEROS.buffer;
}
