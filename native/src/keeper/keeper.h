// The keeper: owner of the event side of mounts. It journals every event before anything else, answers what is ready by
// itself, keeps descriptors for the daemon, and sees to it that a daemon runs while anything is mounted.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "keeper/devices.h"
#include "keeper/journal.h"
#include "keeper/protocol.h"

namespace keeper {

constexpr uint32_t kConnectionsMax = 8;
/** Descriptors that one message brings or takes. */
constexpr uint32_t kPassedMax = 4;
/** The process that started this one is to say hello within this time, unless it dies before. */
constexpr uint64_t kFirstHelloWaitMs = 30'000;
/** An earlier keeper that was killed may take so long to let go of its lock. */
constexpr uint64_t kLockWaitMs = 1000;
/** The command that starts the daemon: all its words with their zeros, and how many. */
constexpr uint32_t kCommandSize = 16 * 1024;
constexpr uint32_t kWordsMax = 64;
/** Exit code: another keeper serves the socket. */
constexpr int kTaken = 3;
/** Descriptors are numbered below this whatever happened before. */
constexpr uint32_t kNumberLimit = 1u << 20;
/** With fewer numbers of its own a keeper does not start. */
constexpr uint32_t kNumbersFew = 512;

struct Options {
  const char* socket_path;
  /** The group and the journal of an earlier keeper, or -1. */
  int group;
  int journal;
  /** The process that started this one; 0 when it does not matter. */
  pid_t parent;
  /** Arguments of the command that starts the daemon; null when nobody is to start it. */
  char** command;
};

class Keeper {
 public:
  /** Opens everything. 0, or, having said why it cannot work, the exit code. */
  int Open(const Options& options);
  /** Serves until it is told to stop. */
  void Run();

 private:
  struct Connection {
    int descriptor;
    pid_t pid;
  };
  struct Held {
    bool used;
    char name[kNameSize];
    uint8_t state[kStateSize];
    int descriptor;
  };
  struct Passed {
    int descriptors[kPassedMax];
    uint32_t count;
  };

  // Start (keeper.cc)
  bool TakeLock();
  void WatchParent(pid_t parent);
  void ParentGone();
  bool OpenGroup(const Options& options);
  bool OpenNumbers();
  bool Listen(const char* path);
  void ClaimNumbers();
  void ReleaseNumbers();
  int PollTimeout() const;

  // Events (events.cc)
  void ReadEvents();
  void Decide(uint32_t index);
  void Settle(uint32_t index, uint32_t error);
  void SettleFile(uint64_t file_device, uint64_t file_inode);
  void SettleAll();
  void TakeProbe(uint32_t index, uint32_t id);
  void Wake();
  void Sweep(uint32_t error);

  // Calls (calls.cc)
  void Accept();
  void Receive(uint32_t index);
  void Handle(uint32_t index, Message* message, Passed* passed);
  bool Reply(uint32_t index, const Message& message, const int* descriptors, uint32_t count);
  uint32_t Hello(uint32_t index, Passed* back);
  uint32_t AddDevice(Message* message, Passed* passed, Passed* back);
  uint32_t RemoveDevice(uint32_t id);
  uint32_t LeaveDevice(uint32_t id);
  uint32_t ProbeEnd(uint32_t id, Passed* back);
  uint32_t Hold(const Message& message, Passed* passed);
  void Let(Held& held);
  uint32_t Drop(const Message& message);
  uint32_t ListDevices(Message* message);
  uint32_t ListHeld(bool daemon, Message* message, Passed* back);
  uint32_t Watch(const Message& message);
  uint32_t SetCommand(const Passed& passed);
  void Tell(Message* message) const;
  uint32_t Stop(bool daemon, const Message& message);
  void Close(uint32_t index);

  // The daemon (daemon.cc)
  bool Needed() const;
  void DaemonGone();
  void WithoutDaemon();
  void StartDaemon();
  void RemoveGone();
  void Reap();

  Devices devices_;
  Journal journal_;
  Held held_[kHeldMax];
  uint32_t held_count_ = 0;
  Connection connections_[kConnectionsMax];
  /** The daemon's connection, kNone without one. */
  uint32_t daemon_ = kNone;
  /** Our end of the stream that wakes the daemon. */
  int wake_ = -1;
  int group_ = -1;
  int listener_ = -1;
  int signals_ = -1;
  const char* socket_path_ = nullptr;
  /** Null when nobody is to start a daemon. */
  char** command_ = nullptr;
  char command_text_[kCommandSize];
  char* command_words_[kWordsMax + 1];
  /** No daemon is to follow the one that there is, or was. */
  bool last_daemon_ = false;
  /** Held as long as this process lives: no other keeper serves the socket. */
  int lock_ = -1;
  /** Ends with the process that started this one; -1 once that has said hello or is gone. */
  int parent_ = -1;
  bool stopping_ = false;
  /** The daemon is gone and nobody is to start another: what is not ready is EIO. */
  bool abandoned_ = false;
  /** Devices are left, whose paths are watched. */
  bool leaving_ = false;

  /** Numbers below this may be awaited by events of earlier keepers. */
  uint32_t occupied_end_ = 0;
  uint8_t occupied_[kNumberLimit / 8];

  pid_t child_ = 0;
  uint64_t child_since_ms_ = 0;
  uint64_t attached_since_ms_ = 0;
  uint64_t start_due_ms_ = 0;
  /** Daemons that were started since one has said hello. */
  uint32_t starts_unheard_ = 0;
  /** Daemons that died soon after their hello, one after another. */
  uint32_t short_lives_ = 0;
};

uint64_t NowMs();
uint64_t NowNs();
void Say(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace keeper
