#include "keeper/group.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace keeper {

namespace {

// As in <linux/fanotify.h> of Linux 6.14; the installed header may be older.
constexpr uint64_t kPreAccess = 0x00100000;
constexpr uint8_t kInfoTypeRange = 6;
constexpr unsigned kErrnoShift = 24;
struct RangeInfo {
  fanotify_event_info_header header;
  uint32_t padding;
  uint64_t offset;
  uint64_t count;
};
static_assert(sizeof(RangeInfo) == 24);

/** Metadata and the range make 48 bytes; there is room for one more kind of information. */
constexpr size_t kEventSizeMax = 96;

/** The errnos that the kernel takes for a read; everything else is told as EIO. */
uint32_t AnswerableErrno(uint32_t error) {
  switch (error) {
    case EPERM:
    case EBUSY:
    case EAGAIN:
    case ENOSPC:
    case EDQUOT:
      return error;
    default:
      return EIO;
  }
}

/** The record of one event. Without a range it is about all of the file. */
Record RecordOf(const fanotify_event_metadata& event) {
  Record record = {};
  record.number = event.fd;
  record.pid = event.pid;
  record.count = ~0ull;
  const char* at = reinterpret_cast<const char*>(&event) + event.metadata_len;
  const char* end = reinterpret_cast<const char*>(&event) + event.event_len;
  while (end - at >= static_cast<ptrdiff_t>(sizeof(fanotify_event_info_header))) {
    fanotify_event_info_header header;
    memcpy(&header, at, sizeof header);
    if (header.len < sizeof header || header.len > end - at) break;
    if (header.info_type == kInfoTypeRange && header.len >= sizeof(RangeInfo)) {
      RangeInfo range;
      memcpy(&range, at, sizeof range);
      record.offset = range.offset;
      record.count = range.count;
    }
    at += header.len;
  }
  return record;
}

}  // namespace

int CreateGroup() {
  // A queue with a limit would let reads through when it is full.
  constexpr unsigned kFlags =
      FAN_CLASS_PRE_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS;
  return fanotify_init(kFlags, O_RDWR | O_CLOEXEC | O_LARGEFILE);
}

int Mark(int group, int descriptor, bool on) {
  const unsigned flags = on ? FAN_MARK_ADD : FAN_MARK_REMOVE;
  return fanotify_mark(group, flags, kPreAccess, descriptor, nullptr) < 0 ? errno : 0;
}

uint32_t ReadGroup(int group, Record events[kBatchMax]) {
  alignas(fanotify_event_metadata) char buffer[kBatchMax * sizeof(fanotify_event_metadata) * 2];
  static_assert(sizeof buffer >= kEventSizeMax);
  const ssize_t size = read(group, buffer, sizeof buffer);
  if (size <= 0) return 0;
  uint32_t count = 0;
  auto left = static_cast<size_t>(size);
  const auto* event = reinterpret_cast<const fanotify_event_metadata*>(buffer);
  while (FAN_EVENT_OK(event, left) && count < kBatchMax) {
    if (event->vers == FANOTIFY_METADATA_VERSION && event->fd >= 0) events[count++] = RecordOf(*event);
    event = FAN_EVENT_NEXT(event, left);
  }
  return count;
}

bool Respond(int group, int number, uint32_t error) {
  fanotify_response response = {};
  response.fd = number;
  response.response = error == 0 ? FAN_ALLOW : FAN_DENY | AnswerableErrno(error) << kErrnoShift;
  return write(group, &response, sizeof response) == static_cast<ssize_t>(sizeof response);
}

int Probe(const char* directory) {
  const int group = CreateGroup();
  if (group < 0) return errno;
  const int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0) return errno;
  return Mark(group, file, true);
}

}  // namespace keeper
