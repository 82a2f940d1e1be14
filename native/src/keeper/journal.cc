#include "keeper/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

namespace keeper {

namespace {

/** A process may be killed between any two stores; these keep their order for whoever reads the memory then. */
void Publish(uint32_t* place, uint32_t value) { std::atomic_ref<uint32_t>(*place).store(value); }

}  // namespace

bool Journal::Open(int descriptor) {
  const bool fresh = descriptor < 0;
  descriptor_ = descriptor;
  if (fresh) {
    descriptor_ = memfd_create("naiad-keeper-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor_ < 0 || ftruncate(descriptor_, kJournalSize) < 0) return false;
    if (fcntl(descriptor_, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) return false;
  }
  struct stat status;
  if (fstat(descriptor_, &status) < 0 || status.st_size != static_cast<off_t>(kJournalSize)) return false;
  const int seals = fcntl(descriptor_, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK)) return false;
  void* memory = mmap(nullptr, kJournalSize, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  if (memory == MAP_FAILED) return false;
  header_ = static_cast<JournalHeader*>(memory);
  records_ = reinterpret_cast<Record*>(header_ + 1);
  if (!fresh) return Adopt();
  memcpy(header_->magic, kMagic, sizeof kMagic);
  header_->version = kVersion;
  header_->record_count = kEventsMax;
  return true;
}

bool Journal::Adopt() {
  if (memcmp(header_->magic, kMagic, sizeof kMagic) != 0) return false;
  if (header_->version != kVersion || header_->record_count != kEventsMax) return false;
  if (header_->reading) Publish(&header_->unrecorded, 1);
  Publish(&header_->reading, 0);
  uint32_t end = 0;
  for (uint32_t i = 0; i < kEventsMax; i++) {
    if (records_[i].state != kPending) {
      records_[i].state = kFree;
      continue;
    }
    records_[i].inherited = 1;
    pending_++;
    inherited_++;
    end = i + 1;
  }
  Publish(&header_->record_end, end);
  return true;
}

bool Journal::Awaited(uint32_t number) const {
  for (uint32_t i = 0; i < header_->record_end; i++) {
    const Record& record = records_[i];
    if (record.state == kPending && record.inherited && record.number == static_cast<int32_t>(number)) return true;
  }
  return false;
}

uint32_t Journal::AwaitedEnd() const {
  uint32_t end = 0;
  for (uint32_t i = 0; i < header_->record_end; i++) {
    const Record& record = records_[i];
    if (record.state == kPending && record.inherited) end = std::max(end, static_cast<uint32_t>(record.number) + 1);
  }
  return end;
}

uint32_t Journal::Add(const Record& event) {
  uint32_t index = 0;
  while (records_[index].state != kFree) index++;
  Record& record = records_[index];
  record = event;
  record.state = kFree;
  record.sequence = ++header_->sequence;
  Publish(&record.state, kPending);
  if (header_->record_end <= index) Publish(&header_->record_end, index + 1);
  pending_++;
  return index;
}

void Journal::Free(uint32_t index) {
  if (records_[index].inherited) inherited_--;
  Publish(&records_[index].state, kFree);
  pending_--;
  uint32_t end = header_->record_end;
  while (end > 0 && records_[end - 1].state == kFree) end--;
  Publish(&header_->record_end, end);
}

}  // namespace keeper
