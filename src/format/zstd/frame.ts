// The head of a Zstandard frame (RFC 8878, section 3.1.1), as far as it says how much memory the frame takes.

/** Bytes of magic, descriptor, window or dictionary id, and content size, at most. */
export const ZSTD_HEAD_SIZE = 18;

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd];
const DICTIONARY_ID_SIZES = [0, 1, 2, 4] as const;

/**
 * Bytes of history that decoding the frame at the start of `head` needs: its window, or its content where that is one segment.
 * Undefined when no frame with data begins there, or `head` is cut short.
 */
export function zstdWindowSize(head: Uint8Array): number | undefined {
  const descriptor = head[MAGIC.length];
  if (descriptor === undefined || MAGIC.some((byte, index) => head[index] !== byte)) return undefined;
  const rest = head.subarray(MAGIC.length + 1);
  const singleSegment = (descriptor & 0x20) !== 0;
  return singleSegment ? contentSize(descriptor, rest) : windowSize(rest[0]);
}

function windowSize(descriptor: number | undefined): number | undefined {
  if (descriptor === undefined) return undefined;
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** A frame of one segment always has it. */
function contentSize(descriptor: number, rest: Uint8Array): number | undefined {
  const from = DICTIONARY_ID_SIZES[(descriptor & 3) as 0 | 1 | 2 | 3];
  const size = 2 ** (descriptor >>> 6);
  if (rest.length < from + size) return undefined;
  let value = 0;
  for (let index = size - 1; index >= 0; index--) value = value * 256 + (rest[from + index] as number);
  // Two bytes count from where one byte ends.
  return size === 2 ? value + 256 : value;
}
