#include <sys/file.h>

#include "arguments.h"
#include "file/file.h"

namespace naiad {

Napi::Value TryLock(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t fd = arguments.Integer(0);
  const int64_t operation = arguments.Integer(1);
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoOf(info.Env(), flock(static_cast<int>(fd), static_cast<int>(operation) | LOCK_NB));
}

}  // namespace naiad
