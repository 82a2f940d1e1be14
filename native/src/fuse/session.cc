#include "fuse/session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <utility>

#include "fuse/replies.h"

namespace naiad {

namespace {

/** Requests are small, since nothing is written; the kernel insists on twice a page. */
constexpr size_t kRequestSizeMax = 64 * 1024;
/** Between two attempts to get a thread out of a system call. */
constexpr auto kKickInterval = std::chrono::milliseconds(2);

/** Interrupts a system call of a session thread and does nothing else. */
int KickSignal() { return SIGRTMIN + 5; }

void InstallKick() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigaction(KickSignal(), &action, nullptr);
}

/** Signals of the process are for Node's own threads. */
void BlockSignalsButKick() {
  sigset_t blocked;
  sigfillset(&blocked);
  sigdelset(&blocked, KickSignal());
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&blocked, fault);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
}

int Send(int fd, const Reply& reply) {
  fuse_out_header header{};
  header.unique = reply.unique;
  header.error = -reply.error;
  header.len = static_cast<uint32_t>(sizeof(header) + reply.size);
  iovec pieces[] = {{&header, sizeof(header)}, {const_cast<uint8_t*>(reply.payload.data()), reply.size}};
  ssize_t sent;
  do sent = writev(fd, pieces, reply.size > 0 ? 2 : 1);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? errno : 0;
}

void SendReply(int fd, Reply& reply) {
  const int error = Send(fd, reply);
  // ENOENT: whoever asked is gone. What else the kernel finds wrong with an answer must not leave somebody waiting.
  if (error == 0 || error == ENOENT || reply.error != 0) return;
  reply.error = EIO;
  reply.size = 0;
  Send(fd, reply);
}

/** True when a thread is being killed: then it may be told so, and nobody sees what it was told. */
bool IsDying(uint32_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%u/status", pid);
  FILE* file = std::fopen(path, "re");
  if (file == nullptr) return errno == ENOENT;
  char line[256];
  bool dying = false;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    unsigned long long pending = 0;
    if (std::sscanf(line, "SigPnd: %llx", &pending) != 1 && std::sscanf(line, "ShdPnd: %llx", &pending) != 1) continue;
    dying |= (pending >> (SIGKILL - 1) & 1) != 0;
  }
  std::fclose(file);
  return dying;
}

}  // namespace

int ResendRequests(int fd) {
  Reply notify(0);
  notify.error = -kNotifyResend;
  return Send(fd, notify);
}

int CloneDescriptor(int fd) {
  const int clone = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (clone < 0) return -errno;
  auto source = static_cast<uint32_t>(fd);
  if (ioctl(clone, FUSE_DEV_IOC_CLONE, &source) == 0) return clone;
  const int error = errno;
  close(clone);
  return -error;
}

Session::Session(Server& server, std::vector<int> descriptors, size_t threads, std::function<void()> wake)
    : server_(server),
      descriptors_(std::move(descriptors)),
      thread_count_(std::max(threads, descriptors_.size())),
      wake_(std::move(wake)) {}

Session::~Session() { Stop(); }

int Session::Start() {
  if (descriptors_.empty()) return EINVAL;
  for (const int fd : descriptors_) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) return errno;
  }
  InstallKick();
  running_ = thread_count_;
  completer_ = std::thread([this] { CompleteAll(); });
  for (size_t i = 0; i < thread_count_; i++) {
    threads_.emplace_back([this, fd = descriptors_[i % descriptors_.size()]] { Serve(fd); });
  }
  return 0;
}

void Session::Stop() {
  {
    std::unique_lock lock(mutex_);
    stopping_.store(true, std::memory_order_release);
    room_.notify_all();
    completed_.notify_all();
    // A signal that comes just before the call it should end is lost, so there are several.
    while (running_ > 0) {
      for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), KickSignal());
      thread_ended_.wait_for(lock, kKickInterval);
    }
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (completer_.joinable()) completer_.join();
}

void Session::Serve(int fd) {
  BlockSignalsButKick();
  Buffer request(kRequestSizeMax);
  while (!stopping_.load(std::memory_order_acquire) && ServeOne(fd, request)) continue;
  ThreadEnded();
}

void Session::ThreadEnded() {
  std::unique_lock lock(mutex_);
  if (--running_ == 0 && !stopping_.load(std::memory_order_acquire)) {
    ended_.store(true, std::memory_order_release);
    lock.unlock();
    wake_();
    lock.lock();
  }
  thread_ended_.notify_all();
}

bool Session::ServeOne(int fd, Buffer& request) {
  const ssize_t size = read(fd, request.data(), request.size());
  if (size == 0) return false;
  if (size < 0) {
    // ENOENT: the request was taken back while it was being read.
    return errno == EINTR || errno == ENOENT || errno == EAGAIN;
  }
  LeasedReply leased;
  Reply& reply = *leased;
  switch (server_.Handle(ByteView(request.data(), static_cast<uint64_t>(size)), reply)) {
    case Outcome::kReply:
      SendReply(fd, reply);
      break;
    case Outcome::kNoReply:
      break;
    case Outcome::kMiss:
      Park(fd, reply.miss);
      break;
    case Outcome::kInterrupt:
      Interrupt(reply.interrupted, reply);
      break;
  }
  return true;
}

void Session::Park(int fd, const Miss& miss) {
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return parked_.size() < kParkedMax || stopping_.load(std::memory_order_acquire); });
    const uint64_t id = next_id_++;
    parked_.emplace(id, Parked{miss, fd});
    misses_.push_back({id, miss});
  }
  wake_();
}

std::vector<ParkedMiss> Session::TakeMisses() {
  std::lock_guard lock(mutex_);
  return std::exchange(misses_, {});
}

void Session::Done(uint64_t id, int error) {
  std::lock_guard lock(mutex_);
  const auto found = parked_.find(id);
  if (found == parked_.end()) return;
  completions_.push_back({found->second, error});
  parked_.erase(found);
  room_.notify_one();
  completed_.notify_one();
}

size_t Session::parked() const {
  std::lock_guard lock(mutex_);
  return parked_.size();
}

/** The kernel passes on any signal that the reader got; a read must not fail for one that does not end it. */
void Session::Interrupt(uint64_t unique, Reply& reply) {
  Parked interrupted;
  {
    std::lock_guard lock(mutex_);
    auto found = parked_.begin();
    while (found != parked_.end() && found->second.miss.unique != unique) ++found;
    if (found == parked_.end() || !IsDying(found->second.miss.pid)) return;
    interrupted = found->second;
    parked_.erase(found);
    room_.notify_one();
  }
  reply.unique = unique;
  reply.error = EINTR;
  reply.size = 0;
  SendReply(interrupted.fd, reply);
}

void Session::CompleteAll() {
  BlockSignalsButKick();
  std::unique_lock lock(mutex_);
  while (true) {
    completed_.wait(lock, [&] { return !completions_.empty() || stopping_.load(std::memory_order_acquire); });
    if (completions_.empty()) return;
    const Completion next = completions_.front();
    completions_.pop_front();
    lock.unlock();
    LeasedReply leased;
    Reply& reply = *leased;
    if (next.error == 0) {
      server_.Complete(next.parked.miss, reply);
    } else {
      reply.unique = next.parked.miss.unique;
      reply.error = next.error;
      reply.size = 0;
    }
    SendReply(next.parked.fd, reply);
    lock.lock();
  }
}

}  // namespace naiad
