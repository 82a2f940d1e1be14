#include "fuse/server.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fuse/attributes.h"

namespace naiad {

namespace {

/** The kernel's number of the root, whatever its inode. */
constexpr uint64_t kRootNode = FUSE_ROOT_ID;
constexpr uint64_t kNameSizeMax = 255;
/** Requests that may be in flight without a process that waits, as readahead; the kernel's own 12 starve a slow link. */
constexpr uint16_t kBackgroundMax = 64;
constexpr uint16_t kCongestionThreshold = 48;
constexpr uint32_t kPageSize = 4096;

/** What an image that never changes can make use of. */
constexpr uint64_t kWanted = FUSE_ASYNC_READ | FUSE_EXPORT_SUPPORT | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                             FUSE_ASYNC_DIO | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS | FUSE_POSIX_ACL |
                             FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT |
                             FUSE_EXPLICIT_INVAL_DATA | kInitExtended | kHasResend | kAllowIdmap;

template <typename Record>
int Put(Reply& reply, const Record& record) {
  std::memcpy(reply.payload.data(), &record, sizeof(record));
  reply.size = sizeof(record);
  return 0;
}

int PutBytes(Reply& reply, std::string_view bytes) {
  if (bytes.size() > reply.payload.size()) return EIO;
  std::memcpy(reply.payload.data(), bytes.data(), bytes.size());
  reply.size = bytes.size();
  return 0;
}

std::vector<uint64_t> ChunkCounts(const Bootstrap& image) {
  std::vector<uint64_t> counts;
  for (const DeviceBounds& bounds : image.devices()) counts.push_back(bounds.chunk_count);
  return counts;
}

}  // namespace

Server::Server(Bootstrap image, std::vector<Device> devices, uint64_t touches_max)
    : image_(std::move(image)), devices_(std::move(devices)), touches_(ChunkCounts(image_), touches_max) {}

void Server::Resume(const Negotiated& negotiated) {
  negotiated_ = negotiated;
  is_ready_.store(true, std::memory_order_release);
}

// Nodes are nids and one, so that the root can be the kernel's 1 whatever its nid is.
uint64_t Server::NidOf(uint64_t node) const { return node == kRootNode ? image_.root_nid() : node - 1; }

uint64_t Server::NodeOf(uint64_t nid) const { return nid == image_.root_nid() ? kRootNode : nid + 1; }

int Server::LocateNode(uint64_t node, Inode& inode) const { return image_.Locate(NidOf(node), inode); }

Outcome Server::Handle(ByteView bytes, Reply& reply) {
  const Request request(bytes);
  reply.error = 0;
  reply.size = 0;
  reply.unique = request.header().unique;
  counters_.requests.fetch_add(1, std::memory_order_relaxed);
  if (!request.is_whole()) {
    reply.error = EIO;
    return Outcome::kReply;
  }
  const Outcome outcome = Dispatch(request, reply);
  if (outcome == Outcome::kReply && reply.error != 0) {
    reply.size = 0;
    if (reply.error == EIO) counters_.errors.fetch_add(1, std::memory_order_relaxed);
  }
  return outcome;
}

Outcome Server::Dispatch(const Request& request, Reply& reply) {
  switch (request.header().opcode) {
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_DESTROY:
      // Nothing is remembered of a node.
      return Outcome::kNoReply;
    case FUSE_INTERRUPT: {
      fuse_interrupt_in interrupt;
      if (!request.Get(interrupt)) return Outcome::kNoReply;
      reply.interrupted = interrupt.unique;
      return Outcome::kInterrupt;
    }
    case FUSE_READ:
      return Read(request, reply);
    case FUSE_INIT:
      reply.error = Init(request, reply);
      break;
    case FUSE_LOOKUP:
      reply.error = Lookup(request, reply);
      break;
    case FUSE_GETATTR:
      reply.error = GetAttributes(request, reply);
      break;
    case FUSE_READLINK:
      reply.error = ReadLink(request, reply);
      break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
      reply.error = Open(request, reply);
      break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      break;
    case FUSE_READDIR:
      reply.error = ReadDirectory(request, false, reply);
      break;
    case FUSE_READDIRPLUS:
      reply.error = ReadDirectory(request, true, reply);
      break;
    case FUSE_STATFS:
      reply.error = Statfs(reply);
      break;
    case FUSE_GETXATTR:
      reply.error = GetXattr(request, reply);
      break;
    case FUSE_LISTXATTR:
      reply.error = ListXattrs(request, reply);
      break;
    default:
      // The kernel then does it by itself, or says so to the process, and asks no more: FLUSH, FSYNC, ACCESS (it checks
      // permissions), LSEEK (there are no holes), STATX (GETATTR has all there is).
      reply.error = ENOSYS;
  }
  return Outcome::kReply;
}

int Server::Init(const Request& request, Reply& reply) {
  fuse_init_in in;
  request.GetPrefix(in);
  fuse_init_out out{};
  out.major = kMajor;
  out.minor = kMinor;
  // A kernel that speaks a later major version asks again with ours.
  if (in.major > kMajor) return Put(reply, out);
  if (in.major < kMajor || in.minor < kMinorMin) return EPROTO;
  uint64_t offered = in.flags;
  if ((offered & kInitExtended) != 0) offered |= static_cast<uint64_t>(in.flags2) << 32;
  negotiated_.flags = offered & kWanted;
  negotiated_.minor = std::min(in.minor, kMinor);
  out.minor = negotiated_.minor;
  out.max_readahead = in.max_readahead;
  out.flags = static_cast<uint32_t>(negotiated_.flags);
  out.flags2 = static_cast<uint32_t>(negotiated_.flags >> 32);
  out.max_background = kBackgroundMax;
  out.congestion_threshold = kCongestionThreshold;
  out.max_write = kPageSize;  // The least it takes: nothing is written.
  out.time_gran = 1;
  out.max_pages = kReadSizeMax / kPageSize;
  is_ready_.store(true, std::memory_order_release);
  return Put(reply, out);
}

int Server::Lookup(const Request& request, Reply& reply) {
  const std::string_view name = request.Name(0);
  Inode directory;
  if (int error = LocateNode(request.header().nodeid, directory)) return error;
  uint64_t nid = directory.nid;
  // Asked of any node when a file handle (NFS, open_by_handle_at) is looked up.
  if (name != ".") {
    if (name.empty()) return EIO;
    if (name.size() > kNameSizeMax) return ENAMETOOLONG;
    const int error = image_.Lookup(directory, name, nid);
    // That there is none may be remembered as well: an entry without a node says so.
    if (error == ENOENT) {
      fuse_entry_out none{};
      none.entry_valid = kForeverSec;
      return Put(reply, none);
    }
    if (error != 0) return error;
  }
  Inode inode;
  if (int error = image_.Locate(nid, inode)) return error;
  return Put(reply, EntryOf(NodeOf(nid), inode));
}

int Server::GetAttributes(const Request& request, Reply& reply) {
  Inode inode;
  if (int error = LocateNode(request.header().nodeid, inode)) return error;
  fuse_attr_out out{};
  out.attr_valid = kForeverSec;
  out.attr = AttributesOf(inode);
  return Put(reply, out);
}

int Server::ReadLink(const Request& request, Reply& reply) {
  Inode link;
  if (int error = LocateNode(request.header().nodeid, link)) return error;
  std::string_view target;
  if (int error = image_.ReadLink(link, target)) return error;
  return PutBytes(reply, target);
}

int Server::Open(const Request& request, Reply& reply) {
  const bool is_directory = request.header().opcode == FUSE_OPENDIR;
  // Then the kernel asks no more, keeps what it has cached, and opening costs nothing.
  const uint64_t needless = is_directory ? FUSE_NO_OPENDIR_SUPPORT : FUSE_NO_OPEN_SUPPORT;
  if ((negotiated_.flags & needless) != 0) return ENOSYS;
  fuse_open_out out{};
  out.open_flags = is_directory ? FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR : FOPEN_KEEP_CACHE;
  return Put(reply, out);
}

int Server::Statfs(Reply& reply) {
  uint64_t size = image_.size();
  for (const DeviceBounds& device : image_.devices()) size += device.size;
  fuse_statfs_out out{};
  out.st.blocks = (size + kBlockSize - 1) / kBlockSize;
  out.st.files = image_.name_count();
  out.st.bsize = out.st.frsize = kBlockSize;
  out.st.namelen = kNameSizeMax;
  return Put(reply, out);
}

int Server::GetXattr(const Request& request, Reply& reply) {
  fuse_getxattr_in in;
  if (!request.Get(in)) return EIO;
  const std::string_view wanted = request.Name(sizeof(in));
  Inode inode;
  if (int error = LocateNode(request.header().nodeid, inode)) return error;
  Xattr xattr;
  uint64_t at = 0;
  int error;
  while ((error = image_.NextXattr(inode, at, xattr)) == 0) {
    if (!wanted.starts_with(xattr.prefix) || wanted.substr(xattr.prefix.size()) != xattr.suffix) continue;
    if (in.size == 0) return Put(reply, fuse_getxattr_out{static_cast<uint32_t>(xattr.value.size()), 0});
    if (in.size < xattr.value.size()) return ERANGE;
    return PutBytes(reply, xattr.value);
  }
  return error == ENOENT ? ENODATA : error;
}

int Server::ListXattrs(const Request& request, Reply& reply) {
  fuse_getxattr_in in;
  if (!request.Get(in)) return EIO;
  Inode inode;
  if (int error = LocateNode(request.header().nodeid, inode)) return error;
  Xattr xattr;
  uint64_t at = 0;
  size_t size = 0;
  int error;
  while ((error = image_.NextXattr(inode, at, xattr)) == 0) {
    const size_t end = size + xattr.prefix.size() + xattr.suffix.size() + 1;
    if (end > reply.payload.size()) return E2BIG;
    uint8_t* to = reply.payload.data() + size;
    to = std::copy(xattr.prefix.begin(), xattr.prefix.end(), to);
    *std::copy(xattr.suffix.begin(), xattr.suffix.end(), to) = 0;
    size = end;
  }
  if (error != ENOENT) return error;
  if (in.size == 0) return Put(reply, fuse_getxattr_out{static_cast<uint32_t>(size), 0});
  if (in.size < size) return ERANGE;
  reply.size = size;
  return 0;
}

}  // namespace naiad
