#include "keeper/devices.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace keeper {

namespace {

/** Bits are looked at in pieces of this size, on the stack. */
constexpr uint32_t kBitsPiece = 512;

/** The table of starts, mapped; null when it is not what the message says. Sealed memory cannot vanish under the mapping. */
const uint64_t* MapStarts(int descriptor, uint32_t chunk_count) {
  struct stat status;
  const size_t size = sizeof(uint64_t) * chunk_count;
  if (fstat(descriptor, &status) < 0 || status.st_size != static_cast<off_t>(size)) return nullptr;
  const int seals = fcntl(descriptor, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_WRITE)) return nullptr;
  void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<const uint64_t*>(memory);
}

uint64_t StartOf(const Device& device, uint32_t chunk) { return device.starts[chunk] & ~kAbsent; }

/** The chunk that holds `offset`; kNone before the first. */
uint32_t ChunkAt(const Device& device, uint64_t offset) {
  uint32_t low = 0;
  uint32_t high = device.chunk_count;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (StartOf(device, middle) > offset) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low == 0 ? kNone : low - 1;
}

/** True when the bits `first` to `last` of the chunk map are all set. */
bool BitsSet(const Device& device, uint32_t first, uint32_t last) {
  uint8_t bits[kBitsPiece];
  uint32_t chunk = first;
  while (chunk <= last) {
    const uint32_t from = chunk / 8;
    const uint32_t size = std::min(last / 8 - from + 1, kBitsPiece);
    // Read, not mapped: a map that somebody cuts short must not end this process.
    const ssize_t count = pread(device.map, bits, size, static_cast<off_t>(device.bits_offset + from));
    if (count != static_cast<ssize_t>(size)) return false;
    for (; chunk <= last && chunk / 8 < from + size; chunk++) {
      if (!(bits[chunk / 8 - from] & (1u << (chunk % 8)))) return false;
    }
  }
  return true;
}

bool RangeReady(const Device& device, uint64_t offset, uint64_t count) {
  if (offset >= device.size) return true;  // There is nothing to read.
  const uint64_t end = count > device.size - offset ? device.size : offset + count;
  if (device.chunk_count == 0 || end == offset) return false;
  const uint32_t first = ChunkAt(device, offset);
  const uint32_t last = ChunkAt(device, end - 1);
  if (first == kNone) return false;
  for (uint32_t chunk = first; chunk <= last; chunk++) {
    if (device.starts[chunk] & kAbsent) return false;
  }
  return BitsSet(device, first, last);
}

}  // namespace

Device* Devices::at(uint32_t id) { return id < end_ && devices_[id].used ? &devices_[id] : nullptr; }

uint32_t Devices::Find(const char* name) const {
  for (uint32_t id = 0; id < end_; id++) {
    if (devices_[id].used && memcmp(devices_[id].name, name, kNameSize) == 0) return id;
  }
  return kNone;
}

uint32_t Devices::Next(uint32_t from) const {
  for (uint32_t id = from; id < end_; id++) {
    if (devices_[id].used) return id;
  }
  return kNone;
}

bool Devices::Watched(uint64_t file_device, uint64_t file_inode, uint32_t except) const {
  for (uint32_t id = 0; id < end_; id++) {
    const Device& device = devices_[id];
    if (!device.used || id == except) continue;
    if (device.file_inode == file_inode && device.file_device == file_device) return true;
  }
  return false;
}

int Devices::Add(const Message& message, const int descriptors[3], uint32_t* id) {
  if (message.chunk_count == 0 || message.chunk_count > kChunksMax) return EINVAL;
  struct stat data;
  if (fstat(descriptors[0], &data) < 0) return errno;
  if (!S_ISREG(data.st_mode)) return EINVAL;
  const uint64_t* starts = MapStarts(descriptors[2], message.chunk_count);
  if (!starts) return EINVAL;
  uint32_t place = Find(message.name);
  if (place != kNone) Remove(place);
  place = 0;
  while (place < kDevicesMax && devices_[place].used) place++;
  if (place == kDevicesMax) {
    munmap(const_cast<uint64_t*>(starts), sizeof(uint64_t) * message.chunk_count);
    return ENOSPC;
  }
  Device& device = devices_[place];
  device = {};
  device.used = true;
  memcpy(device.name, message.name, kNameSize);
  device.file_device = data.st_dev;
  device.file_inode = data.st_ino;
  device.size = message.device_size;
  device.bits_offset = message.bits_offset;
  device.chunk_count = message.chunk_count;
  device.data = descriptors[0];
  device.map = descriptors[1];
  device.starts = starts;
  close(descriptors[2]);
  count_++;
  end_ = std::max(end_, place + 1);
  *id = place;
  return 0;
}

void Devices::Remove(uint32_t id) {
  Device& device = devices_[id];
  munmap(const_cast<uint64_t*>(device.starts), sizeof(uint64_t) * device.chunk_count);
  close(device.data);
  close(device.map);
  device.used = false;
  count_--;
  while (end_ > 0 && !devices_[end_ - 1].used) end_--;
}

bool Devices::Ready(const Record& event) const {
  for (uint32_t id = 0; id < end_; id++) {
    const Device& device = devices_[id];
    if (!device.used || device.file_inode != event.file_inode || device.file_device != event.file_device) continue;
    if (RangeReady(device, event.offset, event.count)) return true;
  }
  return false;
}

uint32_t Devices::ProbedBy(const Record& event) const {
  // One byte is asked for; newer kernels tell of the whole page.
  if (event.offset != 0 || event.count > static_cast<uint64_t>(sysconf(_SC_PAGESIZE))) return kNone;
  for (uint32_t id = 0; id < end_; id++) {
    const Device& device = devices_[id];
    if (!device.used || !device.probing) continue;
    if (device.file_inode == event.file_inode && device.file_device == event.file_device) return id;
  }
  return kNone;
}

}  // namespace keeper
