// Calls on the keeper's socket. A connection of another user, a packet of another size and a call out of turn are refused;
// whatever a message says, its numbers are checked before use, and its descriptors are closed where they are not kept.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "keeper/group.h"
#include "keeper/keeper.h"

namespace keeper {

namespace {

/** A name ends with a zero, and only zeros follow, so that equal names have equal bytes. */
bool NameValid(const char name[kNameSize]) {
  const size_t length = strnlen(name, kNameSize);
  if (length == 0 || length == kNameSize) return false;
  for (size_t i = length; i < kNameSize; i++) {
    if (name[i] != 0) return false;
  }
  return true;
}

}  // namespace

void Keeper::Accept() {
  const int descriptor = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (descriptor < 0) return;
  ucred peer = {};
  socklen_t size = sizeof peer;
  const bool known = getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
  uint32_t index = 0;
  while (index < kConnectionsMax && connections_[index].descriptor >= 0) index++;
  if (!known || index == kConnectionsMax) {
    close(descriptor);
    return;
  }
  connections_[index] = {descriptor, peer.pid};
}

void Keeper::Receive(uint32_t index) {
  Message message;
  iovec piece = {&message, sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedMax)];
  msghdr packet = {};
  packet.msg_iov = &piece;
  packet.msg_iovlen = 1;
  packet.msg_control = control;
  packet.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(connections_[index].descriptor, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  Passed passed = {};
  for (cmsghdr* header = size < 0 ? nullptr : CMSG_FIRSTHDR(&packet); header; header = CMSG_NXTHDR(&packet, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && passed.count < kPassedMax; i++) {
      memcpy(&passed.descriptors[passed.count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
  }
  const bool whole = size == sizeof message && !(packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
  if (whole) Handle(index, &message, &passed);
  for (uint32_t i = 0; i < passed.count; i++) close(passed.descriptors[i]);
  if (!whole) Close(index);
}

/** Carries out one call. What it keeps of `passed` it takes out of there. */
void Keeper::Handle(uint32_t index, Message* message, Passed* passed) {
  const bool daemon = daemon_ == index;
  Passed back = {};
  uint32_t status = EPERM;
  switch (message->kind) {
    case kHello:
      status = message->version == kVersion ? Hello(index, &back) : static_cast<uint32_t>(EPROTO);
      message->id = static_cast<uint32_t>(getpid());
      break;
    case kAddDevice:
      if (daemon) status = AddDevice(message, passed, &back);
      break;
    case kProbeBegin:
      if (daemon) status = devices_.at(message->id) ? 0 : ENOENT;
      if (status == 0) devices_.at(message->id)->probing = true;
      break;
    case kProbeEnd:
      if (daemon) status = ProbeEnd(message->id, &back);
      break;
    case kRemoveDevice:
      if (daemon) status = message->error ? LeaveDevice(message->id) : RemoveDevice(message->id);
      break;
    case kWatch:
      if (daemon) status = Watch(*message);
      break;
    case kAnswer: {
      if (!daemon || message->id >= kEventsMax) return;
      const Record& event = *journal_.at(message->id);
      // The event may have been answered meanwhile, and another one have its place.
      if (event.state != kPending || event.sequence != message->sequence) return;
      if (message->error != 0) journal_.header()->answered_denied++;
      Settle(message->id, message->error);
      return;
    }
    case kHold:
      if (daemon) status = Hold(*message, passed);
      break;
    case kDrop:
      if (daemon) status = Drop(*message);
      break;
    case kListDevices:
      status = ListDevices(message);
      break;
    case kListHeld:
      status = ListHeld(daemon, message, &back);
      break;
    case kSweep:
      if (daemon) Sweep(message->error);
      if (daemon) status = 0;
      break;
    case kCommand:
      if (daemon) status = SetCommand(*passed);
      break;
    case kReport:
      Tell(message);
      status = 0;
      break;
    case kStop:
      status = Stop(daemon, *message);
      break;
    default:
      status = EINVAL;
  }
  message->status = status;
  const bool sent = Reply(index, *message, back.descriptors, back.count);
  if (message->kind == kHello) {
    for (uint32_t i = 0; i < back.count; i++) {
      if (back.descriptors[i] != group_ && back.descriptors[i] != journal_.descriptor()) close(back.descriptors[i]);
    }
  }
  if (!sent) Close(index);
}

bool Keeper::Reply(uint32_t index, const Message& message, const int* descriptors, uint32_t count) {
  Message copy = message;
  iovec piece = {&copy, sizeof copy};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedMax)] = {};
  msghdr packet = {};
  packet.msg_iov = &piece;
  packet.msg_iovlen = 1;
  if (count > 0) {
    packet.msg_control = control;
    packet.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    cmsghdr* header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
  }
  // A caller that does not read its answers loses its connection; nobody else waits for it.
  return sendmsg(connections_[index].descriptor, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof copy;
}

/** Makes the connection the daemon's, and hands out group, journal and the end of a stream that wakes it. */
uint32_t Keeper::Hello(uint32_t index, Passed* back) {
  if (daemon_ != kNone) return EBUSY;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) return static_cast<uint32_t>(errno);
  daemon_ = index;
  abandoned_ = false;
  last_daemon_ = false;
  starts_unheard_ = 0;
  if (parent_ >= 0) close(parent_);
  parent_ = -1;
  wake_ = ends[0];
  attached_since_ms_ = NowMs();
  journal_.header()->daemons++;
  *back = {{group_, journal_.descriptor(), ends[1]}, 3};
  return 0;
}

uint32_t Keeper::AddDevice(Message* message, Passed* passed, Passed* back) {
  if (passed->count != 3 || !NameValid(message->name)) return EINVAL;
  uint32_t id = devices_.Find(message->name);
  int quiet = -1;
  if (id != kNone) {
    // A daemon that was started again comes with a descriptor of its own, which raises events; the one from before does not.
    if (devices_.at(id)->quiet) quiet = fcntl(devices_.at(id)->data, F_DUPFD_CLOEXEC, 0);
  }
  // The mark stays on all the way, so that nothing is read through meanwhile.
  const int marked = Mark(group_, passed->descriptors[0], true);
  const int error = marked ? marked : devices_.Add(*message, passed->descriptors, &id);
  if (error) {
    if (quiet >= 0) close(quiet);
    return static_cast<uint32_t>(error);
  }
  passed->count = 0;
  Device* device = devices_.at(id);
  if (quiet >= 0) {
    close(device->data);
    device->data = quiet;
    device->quiet = true;
    *back = {{quiet}, 1};
  }
  message->id = id;
  return 0;
}

uint32_t Keeper::ProbeEnd(uint32_t id, Passed* back) {
  Device* device = devices_.at(id);
  if (!device || !device->probing) return ENOENT;
  device->probing = false;
  if (device->quiet) *back = {{device->data}, 1};
  // Without an event, the descriptor that came with the device raises none.
  device->quiet = true;
  return 0;
}

/** Removes a device once nobody can read it any more. Until then its events go on, and what is missing is EIO. */
uint32_t Keeper::LeaveDevice(uint32_t id) {
  Device* device = devices_.at(id);
  if (!device) return ENOENT;
  device->leaving = true;
  leaving_ = true;
  RemoveGone();
  return 0;
}

/** Ends the events of a device. Those that wait are answered: what is ready is read, the rest is EIO. */
uint32_t Keeper::RemoveDevice(uint32_t id) {
  Device* device = devices_.at(id);
  if (!device) return ENOENT;
  const uint64_t file_device = device->file_device;
  const uint64_t file_inode = device->file_inode;
  if (!devices_.Watched(file_device, file_inode, id)) {
    Mark(group_, device->data, false);
    while (journal_.room() >= kBatchMax) {
      const uint64_t before = journal_.header()->events;
      ReadEvents();
      if (journal_.header()->events == before) break;
    }
    SettleFile(file_device, file_inode);
  }
  devices_.Remove(id);
  return 0;
}

uint32_t Keeper::Hold(const Message& message, Passed* passed) {
  if (passed->count != 1 || !NameValid(message.name)) return EINVAL;
  uint32_t place = kNone;
  for (uint32_t i = 0; i < kHeldMax; i++) {
    if (held_[i].used && memcmp(held_[i].name, message.name, kNameSize) == 0) {
      place = i;
      close(held_[i].descriptor);
      held_count_--;
      break;
    }
    if (!held_[i].used && place == kNone) place = i;
  }
  if (place == kNone) return ENOSPC;
  Held& held = held_[place];
  held.used = true;
  memcpy(held.name, message.name, kNameSize);
  memcpy(held.state, message.state, kStateSize);
  held.descriptor = passed->descriptors[0];
  passed->count = 0;
  held_count_++;
  return 0;
}

void Keeper::Let(Held& held) {
  close(held.descriptor);
  held.used = false;
  held_count_--;
}

uint32_t Keeper::Drop(const Message& message) {
  for (Held& held : held_) {
    if (!held.used || memcmp(held.name, message.name, kNameSize) != 0) continue;
    Let(held);
    return 0;
  }
  return ENOENT;
}

/** The first device from `id` on. */
uint32_t Keeper::ListDevices(Message* message) {
  const uint32_t id = devices_.Next(message->id);
  if (id == kNone) return ENOENT;
  message->id = id;
  memcpy(message->name, devices_.at(id)->name, kNameSize);
  return 0;
}

/** The first held descriptor from `id` on, itself only for the daemon. */
uint32_t Keeper::ListHeld(bool daemon, Message* message, Passed* back) {
  for (uint32_t i = message->id; i < kHeldMax; i++) {
    if (!held_[i].used) continue;
    message->id = i;
    memcpy(message->name, held_[i].name, kNameSize);
    memcpy(message->state, held_[i].state, kStateSize);
    if (daemon) *back = {{held_[i].descriptor}, 1};
    return 0;
  }
  return ENOENT;
}

/** Remembers the path whose end says that nobody can read the device any more. */
uint32_t Keeper::Watch(const Message& message) {
  Device* device = devices_.at(message.id);
  if (!device) return ENOENT;
  if (memchr(message.state, 0, kStateSize) == nullptr) return EINVAL;
  memcpy(device->watch, message.state, kStateSize);
  return 0;
}

/** Takes the words of the command that starts the next daemon from a file in memory. */
uint32_t Keeper::SetCommand(const Passed& passed) {
  if (passed.count != 1) return EINVAL;
  char text[kCommandSize];
  const ssize_t size = pread(passed.descriptors[0], text, sizeof text, 0);
  if (size <= 0 || size == sizeof text || text[0] == 0 || text[size - 1] != 0) return EINVAL;
  if (std::count(text, text + size, 0) > kWordsMax) return E2BIG;
  memcpy(command_text_, text, static_cast<size_t>(size));
  uint32_t count = 0;
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(strlen(command_text_ + at)) + 1) {
    command_words_[count++] = command_text_ + at;
  }
  command_words_[count] = nullptr;
  command_ = command_words_;
  return 0;
}

/** Whether there is a daemon or will be one, for whoever looks for it, and what it is needed for. */
void Keeper::Tell(Message* message) const {
  const JournalHeader& header = *journal_.header();
  Report report = {};
  report.pid = getpid();
  report.daemon = daemon_ != kNone;
  report.restarts = command_ && !last_daemon_ && !stopping_ && Needed();
  report.devices = devices_.count();
  report.held = held_count_;
  report.waiting = journal_.pending();
  report.daemons = header.daemons;
  report.keepers = header.keepers;
  memcpy(message->state, &report, sizeof report);
  message->version = kVersion;
}

/**
 * Ends the keeper: for the daemon once it has let go of everything, for others once there is no daemon. A daemon that
 * cannot let go yet is the last one: EBUSY, and the keeper ends when the last path it watches is gone.
 */
uint32_t Keeper::Stop(bool daemon, const Message& message) {
  if (daemon_ != kNone && !daemon) return EBUSY;
  const bool empty = devices_.count() == 0 && held_count_ == 0;
  if (!empty && message.error == 0) {
    if (daemon) last_daemon_ = true;
    return EBUSY;
  }
  stopping_ = true;
  return 0;
}

void Keeper::Close(uint32_t index) {
  close(connections_[index].descriptor);
  connections_[index].descriptor = -1;
  if (daemon_ == index) DaemonGone();
}

}  // namespace keeper
