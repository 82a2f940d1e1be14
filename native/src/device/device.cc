#include "device/device.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace naiad {

int Device::Open(int data_fd, int map_fd, uint64_t ready_at, uint64_t size, ChunkPlaces chunks) {
  data_fd_ = data_fd;
  map_fd_ = map_fd;
  size_ = size;
  chunks_ = std::move(chunks);
  if (chunks_.sizes.size() != chunks_.starts.size()) return EINVAL;
  if (!std::is_sorted(chunks_.starts.begin(), chunks_.starts.end())) return EINVAL;
  ready_size_ = (chunks_.starts.size() + 7) / 8;
  if (ready_size_ == 0) return 0;
  struct stat map{};
  if (fstat(map_fd, &map) < 0) return errno;
  // Reading a mapping behind the end of its file is fatal.
  if (static_cast<uint64_t>(map.st_size) < ready_at + ready_size_) return EINVAL;
  void* mapped = mmap(nullptr, ready_size_, PROT_READ, MAP_SHARED, map_fd, static_cast<off_t>(ready_at));
  if (mapped == MAP_FAILED) return errno;
  ready_ = static_cast<const uint8_t*>(mapped);
  return 0;
}

Device::Device(Device&& other) noexcept
    : data_fd_(std::exchange(other.data_fd_, -1)),
      map_fd_(std::exchange(other.map_fd_, -1)),
      size_(other.size_),
      ready_(std::exchange(other.ready_, nullptr)),
      ready_size_(other.ready_size_),
      chunks_(std::move(other.chunks_)) {}

Device::~Device() {
  if (ready_ != nullptr) munmap(const_cast<uint8_t*>(ready_), ready_size_);
  if (data_fd_ >= 0) close(data_fd_);
  if (map_fd_ >= 0) close(map_fd_);
}

bool Device::HasChunk(uint64_t index) const {
  // Acquire: the bit was set after the bytes were written.
  const uint8_t byte = __atomic_load_n(ready_ + index / 8, __ATOMIC_ACQUIRE);
  return (byte >> (index % 8) & 1) != 0;
}

bool Device::IsReady(uint64_t offset, uint64_t size, uint64_t chunk) const {
  if (size == 0) return true;
  const auto& starts = chunks_.starts;
  const auto holds = [&](uint64_t index) {
    return index < starts.size() && starts[index] <= offset && offset - starts[index] < chunks_.sizes[index];
  };
  uint64_t index = chunk;
  if (!holds(index)) {
    const auto after = std::upper_bound(starts.begin(), starts.end(), offset);
    if (after == starts.begin()) return false;
    index = static_cast<uint64_t>(after - starts.begin()) - 1;
  }
  const uint64_t end = offset + size;
  for (uint64_t at = offset; at < end; index++) {
    // A gap between chunks holds nobody's bytes.
    if (index >= starts.size() || starts[index] > at || !HasChunk(index)) return false;
    const uint64_t chunk_end = starts[index] + chunks_.sizes[index];
    if (chunk_end <= at) return false;
    at = chunk_end;
  }
  return true;
}

int Device::Read(void* buffer, uint64_t size, uint64_t offset) const {
  auto* to = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t count = pread(data_fd_, to, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    to += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<uint64_t>(count);
  }
  return 0;
}

}  // namespace naiad
