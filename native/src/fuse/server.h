// Answers of an image to FUSE requests: bytes of a request in, bytes of a reply out. No descriptor, no thread, no memory
// of earlier requests: a node's number says which inode it is, so that any process can answer for the same image.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "device/device.h"
#include "fuse/request.h"
#include "fuse/touches.h"
#include "image/bootstrap.h"

namespace naiad {

/** What both sides agreed on; all that a successor must know of a connection. */
struct Negotiated {
  uint32_t minor = 0;
  /** FUSE_… flags of INIT that hold. */
  uint64_t flags = 0;
};

struct Counters {
  std::atomic<uint64_t> requests{0};
  /** Reads of files, and those of them that had to wait for a fetch. */
  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> waits{0};
  std::atomic<uint64_t> read_bytes{0};
  /** Reads and lookups that ended in an error which is the image's or the cache's. */
  std::atomic<uint64_t> errors{0};
};

/** A read whose bytes are not all there. */
struct Miss {
  uint64_t unique;
  uint64_t nid;
  uint64_t offset;
  uint32_t size;
  uint32_t pid;
};

enum class Outcome {
  /** `Reply` is to be written to the descriptor that the request came from. */
  kReply,
  kNoReply,
  /** The request is in `Reply::miss`. */
  kMiss,
  /** Somebody would like the request `Reply::interrupted` to end. */
  kInterrupt,
};

/** Memory that is only taken where it is written: a hundred idle mounts cost nothing for their largest reads. */
class Buffer {
 public:
  explicit Buffer(size_t size) : data_(std::make_unique_for_overwrite<uint8_t[]>(size)), size_(size) {}

  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t size_;
};

/** Where an answer is made; used again for every request. */
struct Reply {
  explicit Reply(size_t payload_max) : payload(payload_max) {}
  uint64_t unique = 0;
  /** Positive errno; then there is no payload. */
  int error = 0;
  size_t size = 0;
  Buffer payload;
  Miss miss{};
  uint64_t interrupted = 0;
};

class Server {
 public:
  /** Largest read the kernel is told that it may ask for. */
  static constexpr size_t kReadSizeMax = 1 << 20;

  /** `image` is open over `devices`. Of its chunks up to `touches_max` first touches are recorded. */
  Server(Bootstrap image, std::vector<Device> devices, uint64_t touches_max);

  /** Answers one request as read from the device; `reply` has room for `kReadSizeMax` bytes. */
  Outcome Handle(ByteView request, Reply& reply);

  /** Reads what was missing, once it is there. Fills `reply` with bytes or an error. */
  void Complete(const Miss& miss, Reply& reply);

  const Counters& counters() const { return counters_; }
  Counters& counters() { return counters_; }
  const Touches& touches() const { return touches_; }
  const Negotiated& negotiated() const { return negotiated_; }
  /** True once INIT was answered, or `Resume` said what it came to. */
  bool is_ready() const { return is_ready_.load(std::memory_order_acquire); }
  /** Takes over a connection that another process made. Before the first request. */
  void Resume(const Negotiated& negotiated);

 private:
  uint64_t NidOf(uint64_t node) const;
  uint64_t NodeOf(uint64_t nid) const;
  int LocateNode(uint64_t node, Inode& inode) const;
  Outcome Dispatch(const Request& request, Reply& reply);
  int Init(const Request& request, Reply& reply);
  int Lookup(const Request& request, Reply& reply);
  int GetAttributes(const Request& request, Reply& reply);
  int ReadLink(const Request& request, Reply& reply);
  int Open(const Request& request, Reply& reply);
  Outcome Read(const Request& request, Reply& reply);
  int ReadDirectory(const Request& request, bool with_attributes, Reply& reply);
  bool PutEntry(const Entry& entry, DirectoryPosition next, bool with_attributes, size_t size_max, Reply& reply);
  int Statfs(Reply& reply);
  int GetXattr(const Request& request, Reply& reply);
  int ListXattrs(const Request& request, Reply& reply);
  /** 0 when every byte of a range is there, EAGAIN when not, or EIO. */
  int CheckReady(const Inode& file, uint64_t offset, uint64_t size) const;
  /** Records the first touches among the chunks of a range; `request` waits for its bytes, 0: they are there. */
  void Touched(const Inode& file, uint64_t offset, uint64_t size, uint64_t request);
  int CopyRange(const Inode& file, uint64_t offset, uint64_t size, uint8_t* to) const;

  Bootstrap image_;
  std::vector<Device> devices_;
  Negotiated negotiated_;
  std::atomic<bool> is_ready_{false};
  Counters counters_;
  Touches touches_;
};

}  // namespace naiad
