// First touches: which chunks of an image were read, in which order, by which file, and who waited. What was touched before
// costs a reader one load; only a first touch takes a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace naiad {

struct Touch {
  uint32_t device;
  /** Where the chunk begins on the device, and in the file `nid`. */
  uint64_t device_offset;
  uint64_t nid;
  uint64_t file_offset;
  /** Milliseconds of the monotonic clock. */
  double at_ms;
  /** 0 when the bytes were there, `kWaiting` while they are not. */
  double wait_ms;
};

class Touches {
 public:
  static constexpr double kWaiting = -1;

  /** Records up to `touches_max`; 0 for none at all. `chunk_counts` are those of the devices. */
  Touches(const std::vector<uint64_t>& chunk_counts, uint64_t touches_max);

  /** True when `Add` would have nothing to do. `chunk` is less than the device's count. */
  bool Has(uint32_t device, uint64_t chunk) const {
    if (max_ == 0) return true;
    return (bits_[device][chunk / 8].load(std::memory_order_relaxed) >> (chunk % 8) & 1) != 0;
  }

  /** Records the touch of `chunk` unless it was recorded before; `request` is who waits for it, 0 for nobody. */
  void Add(const Touch& touch, uint64_t chunk, uint64_t request);

  /** The bytes that `request` waits for have come. */
  void Arrived(uint64_t request);

  /** All so far, in order; `cut` when there were more than are kept. */
  std::vector<Touch> Read(bool& cut) const;

 private:
  uint64_t max_;
  std::vector<std::unique_ptr<std::atomic<uint8_t>[]>> bits_;
  mutable std::mutex mutex_;
  std::vector<Touch> touches_;
  /** Indexes of touches by the request that waits. */
  std::unordered_map<uint64_t, std::vector<size_t>> waiting_;
  bool cut_ = false;
};

/** Of the clock that `Touch` is in. */
double MonotonicMs();

}  // namespace naiad
