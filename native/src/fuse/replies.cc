#include "fuse/replies.h"

#include <mutex>
#include <utility>
#include <vector>

namespace naiad {

namespace {

/** Kept for the next request, a megabyte each; more are freed. */
constexpr size_t kIdleMax = 2;

struct Idle {
  std::mutex mutex;
  std::vector<std::unique_ptr<Reply>> replies;
};

/** Never destroyed: threads of sessions may outlive static objects. */
Idle& TheIdle() {
  static Idle* const idle = new Idle;
  return *idle;
}

std::unique_ptr<Reply> Take() {
  Idle& idle = TheIdle();
  {
    std::lock_guard lock(idle.mutex);
    if (!idle.replies.empty()) {
      std::unique_ptr<Reply> reply = std::move(idle.replies.back());
      idle.replies.pop_back();
      return reply;
    }
  }
  return std::make_unique<Reply>(Server::kReadSizeMax);
}

}  // namespace

LeasedReply::LeasedReply() : reply_(Take()) {}

LeasedReply::~LeasedReply() {
  Idle& idle = TheIdle();
  std::lock_guard lock(idle.mutex);
  if (idle.replies.size() < kIdleMax) idle.replies.push_back(std::move(reply_));
}

}  // namespace naiad
