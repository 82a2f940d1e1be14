#include "mount/mount.h"

#include <sys/mount.h>

#include "arguments.h"
#include "worker.h"

namespace naiad {

Napi::Value Mount(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string source = arguments.Text(0);
  const std::string target = arguments.Text(1);
  const std::string type = arguments.Text(2);
  const auto flags = static_cast<unsigned long>(arguments.Integer(3));
  const std::string options = arguments.Text(4);
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoWorker::Run(info.Env(), [=] {
    return mount(source.c_str(), target.c_str(), type.c_str(), flags, options.empty() ? nullptr : options.c_str());
  });
}

Napi::Value Umount(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string target = arguments.Text(0);
  const int64_t flags = arguments.Integer(1);
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoWorker::Run(info.Env(), [=] { return umount2(target.c_str(), static_cast<int>(flags)); });
}

}  // namespace naiad
