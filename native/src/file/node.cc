#include <sys/stat.h>

#include "arguments.h"
#include "file/file.h"

namespace naiad {

Napi::Value Mknod(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  const int64_t mode = arguments.Integer(1);
  const int64_t device = arguments.Integer(2);
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoOf(info.Env(), mknod(path.c_str(), static_cast<mode_t>(mode), static_cast<dev_t>(device)));
}

}  // namespace naiad
