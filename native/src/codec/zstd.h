// zstd on threads of Node's pool.
#pragma once

#include <napi.h>

namespace naiad {

/**
 * (bytes: Uint8Array, sizes: Uint32Array, storedSizes: Uint32Array, level: number) -> Promise<number>: compresses chunks
 * that lie back to back in `bytes`, as long as `sizes` says, each to a frame of its own. What is stored of them lies back to
 * back at the start then, as long as `storedSizes` says: a chunk that does not become smaller is stored as it was. The
 * number is CPU seconds; -1 for want of memory. None of the arrays may be changed meanwhile.
 */
Napi::Value ZstdCompress(const Napi::CallbackInfo& info);

/**
 * (room: Uint8Array, stored: Uint8Array) -> Promise<number>: the bytes that the zstd frames `stored` decompress to, which are in
 * `room` then; -1 when they do not, or do not fit. Neither may be changed meanwhile.
 */
Napi::Value ZstdDecompress(const Napi::CallbackInfo& info);

}  // namespace naiad
