// Threads that read requests from /dev/fuse and answer them. What must be fetched first is parked: its thread goes on, and
// whoever fetches says when it is there. No thread ever waits for JavaScript.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fuse/server.h"

namespace naiad {

struct ParkedMiss {
  uint64_t id;
  Miss miss;
};

class Session {
 public:
  /** Reads that may wait for a fetch; with more, the threads stop reading, and the kernel makes others wait. */
  static constexpr size_t kParkedMax = 16'384;

  /**
   * Answers with `server` on `descriptors`, one thread each and `threads` at least; they are the caller's, who keeps
   * them open until `Stop` is back. `wake` is called by session threads when there is something new for `TakeMisses` or `ended`.
   */
  Session(Server& server, std::vector<int> descriptors, size_t threads, std::function<void()> wake);
  ~Session();

  /** 0 or the errno; then nothing runs. */
  int Start();

  /** Ends all threads and waits for them; what was parked stays unanswered. May be called again. */
  void Stop();

  /** Misses since the last call. */
  std::vector<ParkedMiss> TakeMisses();

  /** The bytes of a miss are there, or `error` is why not. An id that is unknown by now is fine. */
  void Done(uint64_t id, int error);

  size_t parked() const;
  /** True when the kernel has let go of the mount, or no thread can go on. */
  bool ended() const { return ended_.load(std::memory_order_acquire); }

 private:
  struct Parked {
    Miss miss;
    int fd;
  };
  struct Completion {
    Parked parked;
    int error;
  };

  void Serve(int fd);
  /** False when the thread should end. */
  bool ServeOne(int fd, Buffer& request);
  void Park(int fd, const Miss& miss);
  void Interrupt(uint64_t unique, Reply& reply);
  void CompleteAll();
  void ThreadEnded();

  Server& server_;
  std::vector<int> descriptors_;
  size_t thread_count_;
  std::function<void()> wake_;
  std::vector<std::thread> threads_;
  std::thread completer_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{false};

  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable completed_;
  std::condition_variable thread_ended_;
  size_t running_ = 0;
  uint64_t next_id_ = 1;
  std::unordered_map<uint64_t, Parked> parked_;
  std::vector<ParkedMiss> misses_;
  std::deque<Completion> completions_;
};

/** Asks the kernel to send again what another process read and did not answer. 0 or the errno; EINVAL before 6.9. */
int ResendRequests(int fd);

/** Another descriptor of the connection behind `fd`, with a queue of its own; negative errno. */
int CloneDescriptor(int fd);

}  // namespace naiad
