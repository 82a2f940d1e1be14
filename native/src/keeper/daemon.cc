// The daemon's process: started when it is needed and not there, again and again, with pauses that grow.
#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "keeper/keeper.h"

namespace keeper {

namespace {

constexpr uint64_t kPauseFirstMs = 100;
constexpr uint64_t kPauseMaxMs = 10'000;
/** A daemon that served so long did not die of what made it start. */
constexpr uint64_t kStableMs = 1000;
/** So many that died sooner, one after another, are replaced at once: readers wait. */
constexpr uint32_t kShortLivesFree = 8;
/** How often to look whether a path that is watched is gone. */
constexpr int kWatchIntervalMs = 500;
/** A daemon that has not said hello by then hangs. */
constexpr uint64_t kHelloWaitMs = 60'000;

/** Before the next start after `count` failures in a row. */
uint64_t PauseAfter(uint32_t count) {
  if (count == 0) return 0;
  return std::min(kPauseFirstMs << std::min(count - 1, 10u), kPauseMaxMs);
}

[[noreturn]] void ExecDaemon(char** command) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  // It is no use to keep the daemon when memory runs out: another one can be started.
  const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  [[maybe_unused]] const ssize_t written = score >= 0 ? write(score, "0", 1) : 0;
  execvp(command[0], command);
  Say("%s: %s", command[0], strerror(errno));
  _exit(127);
}

}  // namespace

/** True while somebody may wait for a daemon. */
bool Keeper::Needed() const { return devices_.count() > 0 || held_count_ > 0 || journal_.pending() > 0; }

void Keeper::DaemonGone() {
  daemon_ = kNone;
  close(wake_);
  wake_ = -1;
  for (uint32_t id = devices_.Next(0); id != kNone; id = devices_.Next(id + 1)) devices_.at(id)->probing = false;
  // It may have filled ranges whose events it had no time to answer.
  SettleAll();
  const uint64_t now = NowMs();
  short_lives_ = now - attached_since_ms_ >= kStableMs ? 0 : short_lives_ + 1;
  start_due_ms_ = now + PauseAfter(short_lives_ > kShortLivesFree ? short_lives_ - kShortLivesFree : 0);
  if (Needed()) {
    Say("the daemon is gone; it had %u devices and %u descriptors, %u readers wait", devices_.count(), held_count_,
        journal_.pending());
  }
}

/** What is to be done, or known to be hopeless, while there is no daemon. */
void Keeper::WithoutDaemon() {
  RemoveGone();
  const uint64_t now = NowMs();
  if (child_ != 0 && now - child_since_ms_ >= kHelloWaitMs) kill(child_, SIGKILL);
  if (child_ != 0 || now < start_due_ms_) return;
  if (!Needed()) {
    stopping_ = true;
  } else if (command_ && !last_daemon_) {
    StartDaemon();
  } else if (!abandoned_) {
    Say("nobody is to start another daemon: what is not in the cache is now an error");
    abandoned_ = true;
    SettleAll();
  }
}

/** Without a daemon, and when a daemon has left them, devices end when what they were mounted as is gone; so does what is
 *  held. */
void Keeper::RemoveGone() {
  leaving_ = false;
  for (uint32_t id = devices_.Next(0); id != kNone; id = devices_.Next(id + 1)) {
    const Device* device = devices_.at(id);
    if (!device->leaving && daemon_ != kNone) continue;
    const bool known = device->watch[0] != 0;
    const bool gone = known ? access(device->watch, F_OK) < 0 && errno == ENOENT : device->leaving;
    if (gone) {
      RemoveDevice(id);
    } else if (device->leaving) {
      leaving_ = true;
    }
  }
  if (daemon_ != kNone) return;
  for (Held& held : held_) {
    pollfd state = {held.descriptor, 0, 0};
    // The kernel says so of a FUSE connection whose mount is gone.
    if (held.used && poll(&state, 1, 0) == 1 && (state.revents & POLLERR)) Let(held);
  }
}

void Keeper::StartDaemon() {
  const uint64_t now = NowMs();
  start_due_ms_ = now + PauseAfter(++starts_unheard_);
  const pid_t child = fork();
  if (child == 0) ExecDaemon(command_);
  if (child < 0) {
    Say("cannot start the daemon: %s", strerror(errno));
    return;
  }
  child_ = child;
  child_since_ms_ = now;
}

void Keeper::Reap() {
  signalfd_siginfo signal;
  while (read(signals_, &signal, sizeof signal) == sizeof signal) {
    const bool asked = signal.ssi_signo == SIGTERM || signal.ssi_signo == SIGINT || signal.ssi_signo == SIGHUP;
    // While anything is mounted, ending would let readers see what is not there.
    if (asked && !Needed() && daemon_ == kNone) stopping_ = true;
  }
  int status;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    if (pid == child_) child_ = 0;
  }
}

/** Until WithoutDaemon has something to do; -1 when it has not. */
int Keeper::PollTimeout() const {
  if (abandoned_ || leaving_) return kWatchIntervalMs;
  if (daemon_ != kNone) return -1;
  const uint64_t due = child_ != 0 ? child_since_ms_ + kHelloWaitMs : start_due_ms_;
  const uint64_t now = NowMs();
  return due <= now ? 0 : static_cast<int>(std::min<uint64_t>(due - now, kWatchIntervalMs));
}

}  // namespace keeper
