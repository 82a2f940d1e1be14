// From event to answer.
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "keeper/group.h"
#include "keeper/keeper.h"

namespace keeper {

void Keeper::ReadEvents() {
  Record events[kBatchMax];
  uint32_t indices[kBatchMax];
  JournalHeader* header = journal_.header();
  std::atomic_ref<uint32_t> reading(header->reading);
  // From the read on, an event names a descriptor of this process. Should it end before all are recorded, the next keeper
  // sees that some were not.
  ClaimNumbers();
  reading.store(1);
  const uint32_t count = ReadGroup(group_, events);
  for (uint32_t i = 0; i < count; i++) {
    struct stat file = {};
    fstat(events[i].number, &file);
    events[i].file_device = file.st_dev;
    events[i].file_inode = file.st_ino;
    events[i].received_ns = NowNs();
    indices[i] = journal_.Add(events[i]);
  }
  reading.store(0);
  header->events += count;
  for (uint32_t i = 0; i < count; i++) Decide(indices[i]);
}

void Keeper::Decide(uint32_t index) {
  const Record& event = *journal_.at(index);
  const pid_t daemon_pid = daemon_ == kNone ? 0 : connections_[daemon_].pid;
  const bool daemon_caused = daemon_pid != 0 && event.pid == daemon_pid;
  if (daemon_caused) {
    const uint32_t id = devices_.ProbedBy(event);
    if (id != kNone) return TakeProbe(index, id);
  }
  if (devices_.Ready(event)) {
    journal_.header()->answered_ready++;
    return Settle(index, 0);
  }
  // The daemon fills files through descriptors that raise no events. A read of its own that waited for itself would never
  // end; let through, it would leave zeros in the page cache of the mount.
  if (daemon_caused || abandoned_) {
    journal_.header()->answered_denied++;
    return Settle(index, EIO);
  }
  Wake();
}

void Keeper::Settle(uint32_t index, uint32_t error) {
  const Record event = *journal_.at(index);
  // Nobody waits any more when the reader was killed, or an earlier keeper had answered already.
  Respond(group_, event.number, error);
  journal_.Free(index);
  if (!event.inherited) close(event.number);
  ReleaseNumbers();
}

void Keeper::SettleFile(uint64_t file_device, uint64_t file_inode) {
  for (uint32_t i = 0; i < journal_.header()->record_end; i++) {
    const Record& event = *journal_.at(i);
    if (event.state != kPending || event.file_inode != file_inode || event.file_device != file_device) continue;
    Settle(i, devices_.Ready(event) ? 0 : EIO);
  }
}

void Keeper::SettleAll() {
  for (uint32_t i = 0; i < journal_.header()->record_end; i++) {
    const Record& event = *journal_.at(i);
    if (event.state != kPending) continue;
    if (devices_.Ready(event)) {
      Settle(i, 0);
    } else if (abandoned_ || stopping_) {
      Settle(i, EIO);
    }
  }
}

/** Lets the daemon's own read go on and keeps its descriptor, which raises no events, to fill the file through. */
void Keeper::TakeProbe(uint32_t index, uint32_t id) {
  Device* device = devices_.at(id);
  const int number = journal_.at(index)->number;
  Respond(group_, number, 0);
  journal_.Free(index);
  close(device->data);
  device->data = number;
  device->quiet = true;
}

void Keeper::Wake() {
  const char byte = 0;
  // A full stream wakes as well as one byte more.
  if (wake_ >= 0) send(wake_, &byte, sizeof byte, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/** Answers every number that an earlier keeper may have been given without recording it. */
void Keeper::Sweep(uint32_t error) {
  for (uint32_t number = 0; number < occupied_end_; number++) Respond(group_, static_cast<int>(number), error);
  std::atomic_ref<uint32_t>(journal_.header()->unrecorded).store(0);
  ReleaseNumbers();
}

}  // namespace keeper
