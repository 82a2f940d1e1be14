// The journal: every event that was read and is not yet answered, in memory that outlives this process as long as the
// daemon holds it too.
#pragma once

#include "keeper/protocol.h"

namespace keeper {

class Journal {
 public:
  /** Maps a new journal, or with `descriptor` ≥ 0 the one of an earlier keeper. False when it cannot be used. */
  bool Open(int descriptor);

  int descriptor() const { return descriptor_; }
  JournalHeader* header() const { return header_; }
  Record* at(uint32_t index) const { return records_ + index; }

  /** Free records there are. */
  uint32_t room() const { return kEventsMax - pending_; }
  uint32_t pending() const { return pending_; }
  /** Pending events that an earlier keeper read. */
  uint32_t inherited() const { return inherited_; }

  /** True when an event of an earlier keeper awaits its answer by this number. */
  bool Awaited(uint32_t number) const;
  /** All numbers that are awaited are below this. */
  uint32_t AwaitedEnd() const;

  /** Stores an event, complete before it counts; there must be room. */
  uint32_t Add(const Record& event);
  void Free(uint32_t index);

 private:
  /** False when the bytes are no journal of this version. */
  bool Adopt();

  int descriptor_ = -1;
  JournalHeader* header_ = nullptr;
  Record* records_ = nullptr;
  uint32_t pending_ = 0;
  uint32_t inherited_ = 0;
};

}  // namespace keeper
