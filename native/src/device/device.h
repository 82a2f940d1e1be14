// A cached device: the data file and its chunk map, as docs/format/cache.md has them. Written by JavaScript, which sets a
// chunk's bit after its bytes are in the data file; read here by any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace naiad {

/** Where chunks lie on the device: ascending starts, and the bytes each has. */
struct ChunkPlaces {
  std::vector<uint64_t> starts;
  std::vector<uint32_t> sizes;
};

class Device {
 public:
  /**
   * Takes over both descriptors, whatever comes of it. `ready_at` is where the ready bits start in the map, a multiple
   * of the page size. 0 or the errno.
   */
  int Open(int data_fd, int map_fd, uint64_t ready_at, uint64_t size, ChunkPlaces chunks);
  Device() = default;
  Device(Device&& other) noexcept;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  uint64_t size() const { return size_; }
  uint64_t chunk_count() const { return chunks_.starts.size(); }

  /**
   * True when all bytes of a range are in the data file. `chunk` is a guess at the first chunk of the range, which
   * saves a search when it is right.
   */
  bool IsReady(uint64_t offset, uint64_t size, uint64_t chunk) const;

  /** Reads bytes of the data file that are ready. 0 or the errno; EIO when the file is shorter. */
  int Read(void* buffer, uint64_t size, uint64_t offset) const;

 private:
  bool HasChunk(uint64_t index) const;

  int data_fd_ = -1;
  int map_fd_ = -1;
  uint64_t size_ = 0;
  const uint8_t* ready_ = nullptr;
  size_t ready_size_ = 0;
  ChunkPlaces chunks_;
};

}  // namespace naiad
