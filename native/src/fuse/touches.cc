#include "fuse/touches.h"

#include <chrono>

namespace naiad {

double MonotonicMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

Touches::Touches(const std::vector<uint64_t>& chunk_counts, uint64_t touches_max) : max_(touches_max) {
  if (max_ == 0) return;
  for (const uint64_t count : chunk_counts) {
    bits_.push_back(std::make_unique<std::atomic<uint8_t>[]>((count + 7) / 8));
  }
}

void Touches::Add(const Touch& touch, uint64_t chunk, uint64_t request) {
  const auto bit = static_cast<uint8_t>(1 << (chunk % 8));
  if ((bits_[touch.device][chunk / 8].fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  std::lock_guard lock(mutex_);
  if (touches_.size() >= max_) {
    cut_ = true;
    return;
  }
  if (request != 0) waiting_[request].push_back(touches_.size());
  touches_.push_back(touch);
}

void Touches::Arrived(uint64_t request) {
  if (max_ == 0) return;
  std::lock_guard lock(mutex_);
  const auto found = waiting_.find(request);
  if (found == waiting_.end()) return;
  const double now = MonotonicMs();
  for (const size_t index : found->second) touches_[index].wait_ms = now - touches_[index].at_ms;
  waiting_.erase(found);
}

std::vector<Touch> Touches::Read(bool& cut) const {
  std::lock_guard lock(mutex_);
  cut = cut_;
  return touches_;
}

}  // namespace naiad
