// Decompression on a worker thread.
#pragma once

#include <napi.h>

namespace naiad {

/**
 * (room: Uint8Array, stored: Uint8Array) -> Promise<number>: the bytes that the zstd frames `stored` decompress to, which are in
 * `room` then; -1 when they do not, or do not fit. Neither may be changed meanwhile.
 */
Napi::Value ZstdDecompress(const Napi::CallbackInfo& info);

}  // namespace naiad
