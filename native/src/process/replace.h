// This process as another program.
#pragma once

#include <napi.h>

namespace naiad {

/**
 * replaceProcess(words: Buffer): errno. `words` are the program and its arguments, each ended by a zero. The process keeps its
 * number, its environment, its standard streams and what is not close-on-exec; it does not return unless that fails.
 */
Napi::Value ReplaceProcess(const Napi::CallbackInfo& info);

}  // namespace naiad
