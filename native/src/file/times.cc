#include <fcntl.h>
#include <sys/stat.h>

#include "arguments.h"
#include "file/file.h"

namespace naiad {

Napi::Value SetTimes(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  const int64_t seconds = arguments.Integer(1);
  const int64_t nanoseconds = arguments.Integer(2);
  if (!arguments.Ok()) return info.Env().Undefined();
  timespec times[2] = {};
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = seconds;
  times[1].tv_nsec = nanoseconds;
  return ErrnoOf(info.Env(), utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
}

}  // namespace naiad
