// The devices whose cache files are watched, and which ranges of them are ready. All that is known of a chunk map is where
// its bits of readiness lie and where on the device each chunk starts.
#pragma once

#include <sys/types.h>

#include "keeper/protocol.h"

namespace keeper {

struct Device {
  bool used;
  /** Between kProbeBegin and kProbeEnd: a one-byte read of the daemon's is let through, and its descriptor kept. */
  bool probing;
  /** `data` is known to raise no events. */
  bool quiet;
  /** Given up by its daemon: removed once the watched path is gone. */
  bool leaving;
  char name[kNameSize];
  uint64_t file_device;
  uint64_t file_inode;
  uint64_t size;
  uint64_t bits_offset;
  uint32_t chunk_count;
  /** Exists as long as the device may be read; empty when nobody said. */
  char watch[kStateSize];
  int data;
  int map;
  const uint64_t* starts;
};

class Devices {
 public:
  uint32_t count() const { return count_; }
  /** The device of that id; null when there is none. */
  Device* at(uint32_t id);
  /** Its id, kNone when there is none. */
  uint32_t Find(const char* name) const;
  /** The next id from `from` on that is used, kNone behind the last. */
  uint32_t Next(uint32_t from) const;
  /** True when a device other than `except` is the same file. */
  bool Watched(uint64_t file_device, uint64_t file_inode, uint32_t except) const;

  /**
   * Takes a device over with its descriptors (data, map, table of starts, whose memory is sealed). 0, or an errno, and
   * then the descriptors are still the caller's. One of the same name is replaced.
   */
  int Add(const Message& message, const int descriptors[3], uint32_t* id);
  void Remove(uint32_t id);

  /** True when all bytes of the range are in the cache file for one of the devices that are this file. */
  bool Ready(const Record& event) const;
  /** The device that waits for just this event, kNone when none does. */
  uint32_t ProbedBy(const Record& event) const;

 private:
  Device devices_[kDevicesMax];
  uint32_t count_ = 0;
  uint32_t end_ = 0;
};

}  // namespace keeper
