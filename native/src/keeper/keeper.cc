#include "keeper/keeper.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "keeper/group.h"

namespace keeper {

namespace {

/** Of a socket. */
constexpr char kLockPath[] = "%s.lock";

/** The directory of an absolute path. */
int OpenDirectory(const char* path) {
  char directory[PATH_MAX];
  const char* slash = strrchr(path, '/');
  const auto size = static_cast<size_t>(slash ? slash - path : PATH_MAX);
  if (size >= sizeof directory) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(directory, path, size);
  directory[size] = 0;
  return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

}  // namespace

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t NowMs() { return NowNs() / 1'000'000; }

void Say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  const int size = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (size > 0) dprintf(STDERR_FILENO, "naiad-keeper %d: %s\n", getpid(), line);
}

int Keeper::Open(const Options& options) {
  socket_path_ = options.socket_path;
  command_ = options.command;
  for (Connection& connection : connections_) connection.descriptor = -1;
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE}) sigaddset(&signals, signal);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  signals_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  // Before anything of an earlier keeper is touched.
  if (!TakeLock()) {
    if (errno == EWOULDBLOCK) return kTaken;
    Say("cannot lock %s: %s", socket_path_, strerror(errno));
    return 1;
  }
  if (!OpenGroup(options) || !OpenNumbers() || !Listen(options.socket_path)) {
    Say("cannot start: %s", strerror(errno));
    return 1;
  }
  // Memory that is already here, and last in line when it runs out: both are better, neither is needed.
  mlockall(MCL_CURRENT);
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0) {
    [[maybe_unused]] const ssize_t written = write(score, "-1000", 5);
    close(score);
  }
  journal_.header()->keepers++;
  start_due_ms_ = NowMs() + kFirstHelloWaitMs;
  WatchParent(options.parent);
  return 0;
}

/** Locks the file beside the socket. False when another keeper has it, with EWOULDBLOCK, or when it cannot be. */
bool Keeper::TakeLock() {
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, kLockPath, socket_path_) >= PATH_MAX) {
    errno = ENAMETOOLONG;
    return false;
  }
  constexpr timespec kPause = {0, 2'000'000};
  for (const uint64_t end = NowMs() + kLockWaitMs;; nanosleep(&kPause, nullptr)) {
    lock_ = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0) return false;
    const bool locked = flock(lock_, LOCK_EX | LOCK_NB) == 0;
    struct stat mine;
    struct stat there;
    // Whoever ends removes the file: a lock on one that was removed keeps nobody out.
    if (locked && fstat(lock_, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino) return true;
    close(lock_);
    if (!locked && NowMs() >= end) {
      errno = EWOULDBLOCK;
      return false;
    }
  }
}

/** Should the process that started this one die before it said hello, nothing is waited for any longer. */
void Keeper::WatchParent(pid_t parent) {
  if (parent == 0) return;
  parent_ = static_cast<int>(syscall(SYS_pidfd_open, parent, 0));
  // Another process may have its number by now.
  if (getppid() != parent) ParentGone();
}

void Keeper::ParentGone() {
  if (parent_ >= 0) close(parent_);
  parent_ = -1;
  start_due_ms_ = NowMs();
}

bool Keeper::OpenGroup(const Options& options) {
  const bool successor = options.group >= 0;
  group_ = successor ? options.group : CreateGroup();
  if (group_ < 0) return false;
  fcntl(group_, F_SETFD, FD_CLOEXEC);
  if (successor) fcntl(options.journal, F_SETFD, FD_CLOEXEC);
  return journal_.Open(successor ? options.journal : -1);
}

/**
 * Events that an earlier keeper read are answered by the number that their descriptors had there. This process must not be
 * given one of these numbers for another event, so it occupies them: those that are recorded, or all there can be when some
 * are not.
 */
bool Keeper::OpenNumbers() {
  JournalHeader* header = journal_.header();
  const bool all = header->unrecorded != 0;
  occupied_end_ = all ? header->number_end : journal_.AwaitedEnd();
  const uint32_t limit = all ? occupied_end_ + kNumbersMax : std::max(occupied_end_, kNumbersMax);
  if (limit > kNumberLimit) {
    errno = EMFILE;
    return false;
  }
  rlimit numbers;
  getrlimit(RLIMIT_NOFILE, &numbers);
  const rlim_t allowed = numbers.rlim_max;
  numbers = {limit, std::max<rlim_t>(allowed, limit)};
  if (setrlimit(RLIMIT_NOFILE, &numbers) < 0) {
    // Without CAP_SYS_RESOURCE there are no more than are allowed. Few readers at once is better than none.
    if (!all || allowed < occupied_end_ + kNumbersFew) return false;
    numbers = {allowed, allowed};
    if (setrlimit(RLIMIT_NOFILE, &numbers) < 0) return false;
  }
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  for (uint32_t number = 0; number < occupied_end_; number++) {
    if ((!all && !journal_.Awaited(number)) || fcntl(static_cast<int>(number), F_GETFD) >= 0) continue;
    if (dup3(nothing, static_cast<int>(number), O_CLOEXEC) < 0) return false;
    occupied_[number / 8] |= static_cast<uint8_t>(1u << (number % 8));
  }
  close(nothing);
  std::atomic_ref<uint32_t>(header->number_end).store(occupied_end_);
  return true;
}

/** Before events are read: notes below which number theirs will be, for the next keeper. */
void Keeper::ClaimNumbers() {
  std::atomic_ref<uint32_t> end(journal_.header()->number_end);
  end.store(std::max(end.load(), occupied_end_ + NumbersFor(devices_.count(), held_count_, journal_.pending())));
}

/** Once no number of an earlier keeper is awaited, they are free again; once no event waits at all, none is claimed. */
void Keeper::ReleaseNumbers() {
  JournalHeader* header = journal_.header();
  if (occupied_end_ > 0 && journal_.inherited() == 0 && !header->unrecorded) {
    for (uint32_t number = 0; number < occupied_end_; number++) {
      if (occupied_[number / 8] & (1u << (number % 8))) close(static_cast<int>(number));
    }
    memset(occupied_, 0, sizeof occupied_);
    occupied_end_ = 0;
  }
  if (occupied_end_ == 0 && journal_.pending() == 0) std::atomic_ref<uint32_t>(header->number_end).store(0);
}

bool Keeper::Listen(const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  int directory = -1;
  if (strlen(path) < sizeof address.sun_path) {
    strcpy(address.sun_path, path);
  } else {
    directory = OpenDirectory(path);
    const char* name = strrchr(path, '/') + 1;
    constexpr int kSize = sizeof address.sun_path;
    if (directory < 0) return false;
    if (snprintf(address.sun_path, kSize, "/proc/self/fd/%d/%s", directory, name) >= kSize) {
      errno = ENAMETOOLONG;
      return false;
    }
  }
  unlink(path);
  umask(0077);
  listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) return false;
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) return false;
  if (directory >= 0) close(directory);
  return listen(listener_, kConnectionsMax) == 0;
}

void Keeper::Run() {
  constexpr uint32_t kFixed = 4;
  pollfd places[kFixed + kConnectionsMax];
  // What an earlier keeper had read may be ready by now.
  SettleAll();
  while (!stopping_) {
    places[0] = {listener_, POLLIN, 0};
    places[1] = {signals_, POLLIN, 0};
    // Events stay with the kernel while there is no room to record them.
    places[2] = {journal_.room() >= kBatchMax ? group_ : -1, POLLIN, 0};
    places[3] = {parent_, POLLIN, 0};
    for (uint32_t i = 0; i < kConnectionsMax; i++) places[kFixed + i] = {connections_[i].descriptor, POLLIN, 0};
    if (poll(places, kFixed + kConnectionsMax, PollTimeout()) < 0 && errno != EINTR) Say("poll: %s", strerror(errno));
    if (places[2].revents) ReadEvents();
    for (uint32_t i = 0; i < kConnectionsMax; i++) {
      if (places[kFixed + i].revents && connections_[i].descriptor >= 0) Receive(i);
    }
    if (places[0].revents) Accept();
    if (places[1].revents) Reap();
    if (places[3].revents && parent_ >= 0) ParentGone();
    if (daemon_ == kNone) {
      WithoutDaemon();
    } else if (leaving_) {
      RemoveGone();
    }
  }
  SettleAll();
  unlink(socket_path_);
  char lock[PATH_MAX];
  snprintf(lock, sizeof lock, kLockPath, socket_path_);
  unlink(lock);
}

}  // namespace keeper
