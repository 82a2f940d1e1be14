#include "descriptors/descriptors.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "descriptors/passing.h"

namespace naiad {

namespace {

/** More than any message of ours; a receiver's memory is bounded by what it asks for. */
constexpr int64_t kMessageSizeMax = 1 << 20;

class ReceiveWorker : public Napi::AsyncWorker {
 public:
  ReceiveWorker(Napi::Env env, int socket, size_t size_max, int timeout_ms)
      : Napi::AsyncWorker(env, "naiad"),
        deferred(Napi::Promise::Deferred::New(env)),
        socket_(socket),
        size_max_(size_max),
        timeout_ms_(timeout_ms) {}

  Napi::Promise::Deferred deferred;

 protected:
  void Execute() override { error_ = naiad::ReceiveDescriptors(socket_, size_max_, timeout_ms_, message_); }

  void OnOK() override {
    if (error_ != 0) return deferred.Resolve(Napi::Number::New(Env(), error_));
    Napi::Object result = Napi::Object::New(Env());
    result.Set("bytes", Napi::Buffer<char>::Copy(Env(), message_.bytes.data(), message_.bytes.size()));
    Napi::Array descriptors = Napi::Array::New(Env(), message_.descriptors.size());
    for (size_t i = 0; i < message_.descriptors.size(); i++) {
      descriptors.Set(static_cast<uint32_t>(i), message_.descriptors[i]);
    }
    result.Set("descriptors", descriptors);
    deferred.Resolve(result);
  }

 private:
  int socket_;
  size_t size_max_;
  int timeout_ms_;
  int error_ = 0;
  ReceivedMessage message_;
};

}  // namespace

Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) return ErrnoOf(info.Env(), -1);
  Napi::Array pair = Napi::Array::New(info.Env(), 2);
  pair.Set(uint32_t{0}, sockets[0]);
  pair.Set(uint32_t{1}, sockets[1]);
  return pair;
}

Napi::Value ConnectUnix(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Napi::Number::New(info.Env(), -ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    return Napi::Number::New(info.Env(), fd);
  }
  const int error = errno;
  close(fd);
  return Napi::Number::New(info.Env(), -error);
}

Napi::Value SendDescriptors(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto socket = static_cast<int>(arguments.Integer(0));
  const std::string bytes = arguments.Bytes(1);
  const std::vector<int> descriptors = arguments.Descriptors(2);
  if (!arguments.Ok()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), naiad::SendDescriptors(socket, bytes, descriptors));
}

Napi::Value ReceiveDescriptors(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto socket = static_cast<int>(arguments.Integer(0));
  const int64_t size_max = arguments.Integer(1);
  const auto timeout_ms = static_cast<int>(arguments.Integer(2));
  if (!arguments.Ok()) return info.Env().Undefined();
  if (size_max < 1 || size_max > kMessageSizeMax) {
    Napi::RangeError::New(info.Env(), "sizeMax must be 1 to 1048576").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  auto* worker = new ReceiveWorker(info.Env(), socket, static_cast<size_t>(size_max), timeout_ms);
  const Napi::Value promise = worker->deferred.Promise();
  worker->Queue();
  return promise;
}

}  // namespace naiad
