#include "image/bootstrap.h"

#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <utility>

#include "image/layout.h"

namespace naiad {

namespace {

constexpr uint64_t kSuperblockAt = 1024;
constexpr uint64_t kExtSuperblockAt = kSuperblockAt + layout::erofs_superblock::kRecordSize;
constexpr uint32_t kMagic = 0xe0f5e1e2;
constexpr uint64_t kBlockSize = 4096;
constexpr uint32_t kBlockBits = 12;
constexpr uint64_t kSlotSize = 32;
constexpr uint32_t kLayoutPlain = 0;
constexpr uint32_t kLayoutInline = 2;
constexpr uint32_t kLayoutChunked = 4;
constexpr uint32_t kChunkFormatIndexes = 0x20;
constexpr uint32_t kChunkFormatBits = 0x1f;
constexpr uint32_t kHole = 0xffffffff;
constexpr uint64_t kChunkSizeMin = 4096;
constexpr uint64_t kChunkSizeMax = 16 << 20;
constexpr uint64_t kFileSizeMax = uint64_t{1} << 44;
constexpr uint64_t kSymlinkSizeMax = 4095;
constexpr uint64_t kNidMax = uint64_t{1} << 48;
constexpr uint32_t kNsecMax = 999'999'999;

uint64_t AlignUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

uint32_t TypeOf(const Inode& inode) { return inode.mode & S_IFMT; }

bool IsKnownType(uint32_t type) {
  switch (type) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return true;
    default:
      return false;
  }
}

}  // namespace

int Bootstrap::Open(ByteView bytes, std::vector<DeviceBounds> devices) {
  namespace sb = layout::erofs_superblock;
  namespace ext = layout::rafs_superblock_ext;
  if (!bytes.Has(kSuperblockAt, sb::kRecordSize + ext::kRecordSize)) return EIO;
  if (bytes.Get(kSuperblockAt, sb::kMagic) != kMagic) return EIO;
  if (bytes.Get(kSuperblockAt, sb::kBlockBits) != naiad::kBlockBits) return EIO;
  bytes_ = bytes;
  devices_ = std::move(devices);
  meta_at_ = bytes.Get(kSuperblockAt, sb::kMetaBlkaddr) * kBlockSize;
  root_nid_ = bytes.Get(kSuperblockAt, sb::kRootNid);
  name_count_ = bytes.Get(kSuperblockAt, sb::kInos);
  build_time_ = static_cast<int64_t>(bytes.Get(kSuperblockAt, sb::kBuildTime));
  build_time_nsec_ = bytes.Get(kSuperblockAt, sb::kBuildTimeNsec);
  chunk_size_ = bytes.Get(kExtSuperblockAt, ext::kChunkSize);
  if (meta_at_ > bytes.size() || bytes.Get(kSuperblockAt, sb::kExtraDevices) != devices_.size()) return EIO;
  if (!std::has_single_bit(chunk_size_) || chunk_size_ < kChunkSizeMin || chunk_size_ > kChunkSizeMax) return EIO;
  Inode root;
  if (Locate(root_nid_, root) != 0 || TypeOf(root) != S_IFDIR) return EIO;
  return 0;
}

int Bootstrap::Locate(uint64_t nid, Inode& inode) const {
  namespace compact = layout::erofs_inode_compact;
  namespace extended = layout::erofs_inode_extended;
  if (nid < 1 || nid > kNidMax) return EIO;
  const uint64_t at = meta_at_ + nid * kSlotSize;
  if (!bytes_.Has(at, compact::kRecordSize)) return EIO;
  const uint32_t format = bytes_.Get(at, compact::kFormat);
  const bool is_extended = (format & 1) != 0;
  const uint64_t head_size = is_extended ? extended::kRecordSize : compact::kRecordSize;
  if (format >> 4 != 0 || !bytes_.Has(at, head_size)) return EIO;
  inode.nid = nid;
  inode.layout = (format >> 1) & 7;
  inode.mode = bytes_.Get(at, compact::kMode);
  if (is_extended) {
    inode.size = bytes_.Get(at, extended::kSize);
    inode.u = bytes_.Get(at, extended::kU);
    inode.uid = bytes_.Get(at, extended::kUid);
    inode.gid = bytes_.Get(at, extended::kGid);
    inode.nlink = bytes_.Get(at, extended::kNlink);
    inode.mtime = bytes_.Get(at, extended::kMtime);
    inode.mtime_nsec = bytes_.Get(at, extended::kMtimeNsec);
  } else {
    inode.size = bytes_.Get(at, compact::kSize);
    inode.u = bytes_.Get(at, compact::kU);
    inode.uid = bytes_.Get(at, compact::kUid);
    inode.gid = bytes_.Get(at, compact::kGid);
    inode.nlink = bytes_.Get(at, compact::kNlink);
    inode.mtime = build_time_;
    inode.mtime_nsec = build_time_nsec_;
  }
  if (inode.mtime_nsec > kNsecMax) inode.mtime_nsec = kNsecMax;
  const uint32_t type = TypeOf(inode);
  inode.rdev = type == S_IFCHR || type == S_IFBLK ? inode.u : 0;
  const uint64_t xattr_count = bytes_.Get(at, compact::kXattrCount);
  inode.xattr_at = at + head_size;
  inode.xattr_size = xattr_count == 0 ? 0 : layout::erofs_xattr_header::kRecordSize + 4 * (xattr_count - 1);
  inode.body_at = inode.xattr_at + inode.xattr_size;
  if (!bytes_.Has(inode.xattr_at, inode.xattr_size)) return EIO;
  return CheckBody(inode);
}

int Bootstrap::CheckBody(const Inode& inode) const {
  const uint32_t type = TypeOf(inode);
  if (!IsKnownType(type)) return EIO;
  if (type == S_IFREG) return CheckFile(inode);
  if (type != S_IFDIR && type != S_IFLNK) return inode.size == 0 ? 0 : EIO;
  if (inode.layout != kLayoutPlain && inode.layout != kLayoutInline) return EIO;
  if (type == S_IFLNK && (inode.size == 0 || inode.size > kSymlinkSizeMax)) return EIO;
  if (inode.size > bytes_.size()) return EIO;
  const uint64_t tail = inode.layout == kLayoutInline ? inode.size % kBlockSize : 0;
  if (inode.size > tail && !bytes_.Has(inode.u * kBlockSize, inode.size - tail)) return EIO;
  if (tail > 0 && (!bytes_.Has(inode.body_at, tail) || inode.body_at % kBlockSize + tail > kBlockSize)) return EIO;
  return 0;
}

int Bootstrap::CheckFile(const Inode& file) const {
  if (file.layout != kLayoutChunked || file.size > kFileSizeMax) return EIO;
  if ((file.u & ~kChunkFormatBits) != kChunkFormatIndexes) return EIO;
  if (kBlockSize << (file.u & kChunkFormatBits) < chunk_size_) return EIO;
  const uint64_t addresses = AlignUp(file.size, chunk_size_) / chunk_size_ * layout::erofs_chunk_address::kRecordSize;
  return bytes_.Has(AlignUp(file.body_at, 8), addresses) ? 0 : EIO;
}

int Bootstrap::ReadLink(const Inode& link, std::string_view& target) const {
  if (TypeOf(link) != S_IFLNK) return EIO;
  target = bytes_.Text(link.layout == kLayoutInline ? link.body_at : link.u * kBlockSize, link.size);
  if (target.empty() || target.find('\0') != std::string_view::npos) return EIO;
  return 0;
}

int Bootstrap::NextXattr(const Inode& inode, uint64_t& at, Xattr& xattr) const {
  namespace header = layout::erofs_xattr_header;
  namespace entry = layout::erofs_xattr_entry;
  if (inode.xattr_size == 0 || at >= inode.xattr_size) return ENOENT;
  // Shared xattrs are none of RAFS.
  if (bytes_.Get(inode.xattr_at, header::kSharedCount) != 0) return EIO;
  if (at == 0) at = header::kRecordSize;
  if (at >= inode.xattr_size) return ENOENT;
  const ByteView area(bytes_.data() + inode.xattr_at, inode.xattr_size);
  if (!area.Has(at, entry::kRecordSize)) return EIO;
  const uint64_t name_size = area.Get(at, entry::kNameSize);
  const uint64_t value_size = area.Get(at, entry::kValueSize);
  const uint64_t name_at = at + entry::kRecordSize;
  if (!area.Has(name_at, name_size + value_size)) return EIO;
  switch (area.Get(at, entry::kPrefix)) {
    case 1:
      xattr.prefix = "user.";
      break;
    case 2:
      xattr.prefix = "system.posix_acl_access";
      break;
    case 3:
      xattr.prefix = "system.posix_acl_default";
      break;
    case 4:
      xattr.prefix = "trusted.";
      break;
    case 6:
      xattr.prefix = "security.";
      break;
    default:
      return EIO;
  }
  xattr.suffix = area.Text(name_at, name_size);
  xattr.value = area.Text(name_at + name_size, value_size);
  at = AlignUp(name_at + name_size + value_size, 4);
  return 0;
}

int Bootstrap::ExtentAt(const Inode& file, uint64_t offset, Extent& extent) const {
  namespace address = layout::erofs_chunk_address;
  if (TypeOf(file) != S_IFREG || offset >= file.size) return EIO;
  const uint64_t index = offset / chunk_size_;
  const uint64_t at = AlignUp(file.body_at, 8) + index * address::kRecordSize;
  const uint32_t device = bytes_.Get(at, address::kDevice);
  const uint32_t block = bytes_.Get(at, address::kBlock);
  const uint32_t number = device & 0xff;
  if (number == 0 || number > devices_.size() || block == kHole) return EIO;
  const DeviceBounds& bounds = devices_[number - 1];
  const uint64_t length = std::min(chunk_size_, file.size - index * chunk_size_);
  const uint64_t start = block * kBlockSize;
  extent.chunk = (device >> 8) << 16 | bytes_.Get(at, address::kChunkLow);
  if (extent.chunk >= bounds.chunk_count || start + length > bounds.size) return EIO;
  const uint64_t within = offset - index * chunk_size_;
  extent.device = number - 1;
  extent.device_offset = start + within;
  extent.size = length - within;
  return 0;
}

}  // namespace naiad
