// sha256 of a stream, by the OpenSSL that Node brings and exports. A hash is an external value; anything else in its place
// is a TypeError, and so is a call while an update is under way.
#pragma once

#include <napi.h>

namespace naiad {

/** sha256Start(): hash. */
Napi::Value Sha256Start(const Napi::CallbackInfo& info);

/** sha256Update(hash, bytes: Uint8Array). */
Napi::Value Sha256Update(const Napi::CallbackInfo& info);

/** sha256UpdateAsync(hash, bytes): Promise, on a thread of the pool. The bytes must not change before it is resolved. */
Napi::Value Sha256UpdateAsync(const Napi::CallbackInfo& info);

/** sha256Copy(hash): another hash that goes on from the same bytes. */
Napi::Value Sha256Copy(const Napi::CallbackInfo& info);

/** sha256Digest(hash): Buffer of 32 bytes. The hash is used up: more bytes are an error. */
Napi::Value Sha256Digest(const Napi::CallbackInfo& info);

}  // namespace naiad
