#include "descriptors/packets.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "arguments.h"

namespace naiad {

namespace {

Napi::Value DescriptorOf(Napi::Env env, int result) { return Napi::Number::New(env, result < 0 ? -errno : result); }

int CloseKeepingErrno(int descriptor) {
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

}  // namespace

Napi::Value ConnectPackets(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.Text(0);
  const int64_t timeout_ms = arguments.Integer(1);
  if (!arguments.Ok()) return info.Env().Undefined();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Napi::Number::New(info.Env(), -ENAMETOOLONG);
  memcpy(address.sun_path, path.data(), path.size());
  const int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return DescriptorOf(info.Env(), descriptor);
  // Answers to all readers that can wait fit in, so that no send waits for a keeper that hangs.
  constexpr int kSendSize = 2 << 20;
  [[maybe_unused]] const int roomy = setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &kSendSize, sizeof kSendSize);
  timeval timeout = {};
  timeout.tv_sec = timeout_ms / 1000;
  timeout.tv_usec = timeout_ms % 1000 * 1000;
  if (setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
      connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
    return DescriptorOf(info.Env(), CloseKeepingErrno(descriptor));
  }
  return DescriptorOf(info.Env(), descriptor);
}

Napi::Value PeerPid(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto socket = static_cast<int>(arguments.Integer(0));
  if (!arguments.Ok()) return info.Env().Undefined();
  ucred peer = {};
  socklen_t size = sizeof peer;
  return DescriptorOf(info.Env(), getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -1 : peer.pid);
}

Napi::Value DuplicateOver(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto from = static_cast<int>(arguments.Integer(0));
  const auto to = static_cast<int>(arguments.Integer(1));
  if (!arguments.Ok()) return info.Env().Undefined();
  return ErrnoOf(info.Env(), dup3(from, to, O_CLOEXEC));
}

Napi::Value MemoryFile(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string bytes = arguments.Bytes(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  const int descriptor = memfd_create("naiad", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return DescriptorOf(info.Env(), descriptor);
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = write(descriptor, bytes.data() + done, bytes.size() - done);
    if (count < 0) return DescriptorOf(info.Env(), CloseKeepingErrno(descriptor));
    done += static_cast<size_t>(count);
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (fcntl(descriptor, F_ADD_SEALS, kSeals) < 0) return DescriptorOf(info.Env(), CloseKeepingErrno(descriptor));
  return DescriptorOf(info.Env(), descriptor);
}

}  // namespace naiad
