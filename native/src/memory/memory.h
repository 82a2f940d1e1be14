// How this process asks the system for memory.
#pragma once

#include <napi.h>

namespace naiad {

/** limitMemory() → boolean: false where the C library has no such settings. */
Napi::Value LimitMemory(const Napi::CallbackInfo& info);

}  // namespace naiad
