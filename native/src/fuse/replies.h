// Where answers are made, shared by the sessions of all mounts: a thread has one while it answers, not while it waits.
#pragma once

#include <memory>

#include "fuse/server.h"

namespace naiad {

/** A reply of this thread's own until it goes out of scope. */
class LeasedReply {
 public:
  LeasedReply();
  ~LeasedReply();
  LeasedReply(const LeasedReply&) = delete;
  LeasedReply& operator=(const LeasedReply&) = delete;

  Reply& operator*() { return *reply_; }

 private:
  std::unique_ptr<Reply> reply_;
};

}  // namespace naiad
