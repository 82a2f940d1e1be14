#include <linux/limits.h>
#include <sys/xattr.h>

#include <vector>

#include "arguments.h"
#include "file/file.h"

namespace naiad {

Napi::Value SetXattr(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  const std::string name = arguments.Text(1);
  const std::string value = arguments.Bytes(2);
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoOf(info.Env(), lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0));
}

Napi::Value GetXattr(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  const std::string name = arguments.Text(1);
  if (!arguments.Ok()) return info.Env().Undefined();
  // The largest value there can be: asking for the size first would cost a call and could be outrun by a writer.
  std::vector<char> value(XATTR_SIZE_MAX);
  const ssize_t size = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (size < 0) return ErrnoOf(info.Env(), size);
  return Napi::Buffer<char>::Copy(info.Env(), value.data(), static_cast<size_t>(size));
}

Napi::Value ListXattrs(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  std::vector<char> names(XATTR_LIST_MAX);
  const ssize_t size = llistxattr(path.c_str(), names.data(), names.size());
  if (size < 0) return ErrnoOf(info.Env(), size);
  return Napi::Buffer<char>::Copy(info.Env(), names.data(), static_cast<size_t>(size));
}

}  // namespace naiad
