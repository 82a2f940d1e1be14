#include "descriptors/passing.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace naiad {

namespace {

void TakeDescriptors(msghdr& header, std::vector<int>& descriptors) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const size_t before = descriptors.size();
    descriptors.resize(before + count);
    std::memcpy(descriptors.data() + before, CMSG_DATA(part), count * sizeof(int));
  }
}

}  // namespace

int SendDescriptors(int socket, const std::string& bytes, const std::vector<int>& descriptors) {
  if (bytes.empty() || descriptors.size() > kPassedDescriptorsMax) return EINVAL;
  iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  const size_t size = descriptors.size() * sizeof(int);
  std::vector<char> control(CMSG_SPACE(size));
  if (size > 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(part), descriptors.data(), size);
  }
  ssize_t sent;
  do sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0) return errno;
  return static_cast<size_t>(sent) == bytes.size() ? 0 : EMSGSIZE;
}

int ReceiveDescriptors(int socket, size_t size_max, int timeout_ms, ReceivedMessage& message) {
  pollfd waiting{socket, POLLIN, 0};
  int ready;
  do ready = poll(&waiting, 1, timeout_ms);
  while (ready < 0 && errno == EINTR);
  if (ready < 0) return errno;
  if (ready == 0) return ETIMEDOUT;

  message.bytes.resize(size_max);
  message.descriptors.clear();
  iovec piece{message.bytes.data(), size_max};
  alignas(cmsghdr) char control[CMSG_SPACE(kPassedDescriptorsMax * sizeof(int))];
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t count;
  do count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (count < 0 && errno == EINTR);
  if (count < 0) return errno;
  message.bytes.resize(static_cast<size_t>(count));
  TakeDescriptors(header, message.descriptors);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) return 0;
  for (const int descriptor : message.descriptors) close(descriptor);
  message.descriptors.clear();
  return EMSGSIZE;
}

}  // namespace naiad
