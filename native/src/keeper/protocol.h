// What passes between the keeper and its daemon: one message for every call and answer, and the journal that both map or
// read. src/format/keeper/records.ts declares the same bytes; docs/format/keeper.md explains them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace keeper {

// A test builds a keeper of another version.
#ifndef NAIAD_KEEPER_VERSION
#define NAIAD_KEEPER_VERSION 1
#endif
constexpr uint32_t kVersion = NAIAD_KEEPER_VERSION;
constexpr uint32_t kDevicesMax = 2048;
constexpr uint32_t kHeldMax = 512;
constexpr uint32_t kEventsMax = 1024;
/**
 * More than all descriptors that a keeper has at once: two a device, held ones, one an event, and fewer than 128 for itself and
 * for events that it is about to read. The kernel gives the lowest free number, so that, but for numbers that are occupied on
 * purpose, all are below this as well.
 */
constexpr uint32_t NumbersFor(uint32_t devices, uint32_t held, uint32_t events) {
  return 2 * devices + held + events + 128;
}
/** Of a keeper that occupies the numbers of every event that an earlier one has recorded. */
constexpr uint32_t kNumbersMax = 7168;
static_assert(NumbersFor(kDevicesMax, kHeldMax, 2 * kEventsMax) < kNumbersMax);
constexpr uint32_t kChunksMax = 1u << 24;
constexpr uint32_t kNameSize = 64;
constexpr uint32_t kStateSize = 144;
/** Set in a start of the table: nothing is known of this chunk, so it is never ready. */
constexpr uint64_t kAbsent = 1ull << 63;
constexpr uint32_t kNone = 0xffffffff;

enum Kind : uint32_t {
  kHello = 1,
  kAddDevice = 2,
  kProbeBegin = 3,
  kProbeEnd = 4,
  kRemoveDevice = 5,
  kAnswer = 6,
  kHold = 7,
  kDrop = 8,
  kListDevices = 9,
  kListHeld = 10,
  kSweep = 11,
  kStop = 12,
  kWatch = 13,
  kReport = 14,
  kCommand = 15,
};

struct Message {
  uint32_t kind;
  uint32_t status;
  uint32_t id;
  uint32_t error;
  uint64_t sequence;
  uint64_t device_size;
  uint64_t bits_offset;
  uint32_t chunk_count;
  uint32_t version;
  char name[kNameSize];
  uint8_t state[kStateSize];
};
static_assert(sizeof(Message) == 256 && offsetof(Message, name) == 48 && offsetof(Message, state) == 112);

/** What the keeper knows of itself; in `state` of the answer to kReport. */
struct Report {
  int32_t pid;
  /** 1: a daemon has said hello and is connected. */
  uint32_t daemon;
  /** 1: without a daemon, the keeper starts one. */
  uint32_t restarts;
  uint32_t devices;
  uint32_t held;
  /** Readers that wait. */
  uint32_t waiting;
  uint64_t daemons;
  uint64_t keepers;
};
static_assert(sizeof(Report) == 40 && sizeof(Report) <= kStateSize);

enum RecordState : uint32_t {
  kFree = 0,
  kPending = 1,
};

/** One event that was read and not yet answered. */
struct Record {
  uint32_t state;
  int32_t number;
  int32_t pid;
  /** 1: read by an earlier keeper, whose descriptor it names. */
  uint32_t inherited;
  uint64_t file_device;
  uint64_t file_inode;
  uint64_t offset;
  uint64_t count;
  uint64_t sequence;
  uint64_t received_ns;
};
static_assert(sizeof(Record) == 64);

struct JournalHeader {
  char magic[8];
  uint32_t version;
  uint32_t record_count;
  /** Records from here on are free. */
  uint32_t record_end;
  /** 1 from before events are read until all of them are recorded. */
  uint32_t reading;
  /** 1 while events of an earlier keeper may exist that nobody recorded. */
  uint32_t unrecorded;
  /** No event that is not answered has this number or a higher one. */
  uint32_t number_end;
  uint64_t sequence;
  uint64_t events;
  uint64_t answered_ready;
  uint64_t answered_denied;
  uint64_t keepers;
  uint64_t daemons;
  uint8_t reserved[4096 - 80];
};
static_assert(sizeof(JournalHeader) == 4096);

constexpr char kMagic[8] = {'n', 'a', 'i', 'a', 'd', 'k', 'p', 'r'};
constexpr size_t kJournalSize = sizeof(JournalHeader) + sizeof(Record) * kEventsMax;

}  // namespace keeper
