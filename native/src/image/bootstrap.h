// A bootstrap (RAFS v6, which is EROFS) answered in place from its bytes, which may be hostile: each offset, count and size
// is checked before use, and each loop is bounded by the size of the file. What is wrong reads as EIO. Says the same as
// src/image/bootstrap-reader.ts. Nothing here changes or allocates, so any number of threads may ask.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "image/bytes.h"

namespace naiad {

/** A device as far as addresses on it can be checked. */
struct DeviceBounds {
  uint64_t size;
  uint64_t chunk_count;
};

/** What stat(2) shows of an inode, and where its parts lie. */
struct Inode {
  uint64_t nid;
  uint64_t size;
  int64_t mtime;
  uint32_t mtime_nsec;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
  uint32_t nlink;
  /** new_encode_dev of a device node, else 0. */
  uint32_t rdev;
  uint32_t layout;
  uint32_t u;
  uint64_t xattr_at;
  uint64_t xattr_size;
  /** First byte behind inode and xattrs. */
  uint64_t body_at;
};

struct Entry {
  uint64_t nid;
  std::string_view name;
  /** EROFS file type, 1 to 7. */
  uint8_t type;
};

/** Where to go on in a directory; 0 is its start. Stays true for ever. */
using DirectoryPosition = uint64_t;

struct Xattr {
  std::string_view prefix;
  std::string_view suffix;
  std::string_view value;
};

/** A run of a file's bytes within one chunk address. */
struct Extent {
  uint32_t device;
  uint32_t chunk;
  uint64_t device_offset;
  uint64_t size;
};

class Bootstrap {
 public:
  Bootstrap() = default;

  /** Reads the super blocks of `bytes`, which stay the caller's and must outlive this. 0 or EIO. */
  int Open(ByteView bytes, std::vector<DeviceBounds> devices);

  uint64_t root_nid() const { return root_nid_; }
  uint64_t name_count() const { return name_count_; }
  uint64_t size() const { return bytes_.size(); }
  /** Bytes of a file that one chunk address stands for. */
  uint64_t chunk_size() const { return chunk_size_; }
  const std::vector<DeviceBounds>& devices() const { return devices_; }

  /** 0 or EIO. */
  int Locate(uint64_t nid, Inode& inode) const;

  /** The entry called `name`: 0, ENOENT or EIO. `directory` must be one. */
  int Lookup(const Inode& directory, std::string_view name, uint64_t& nid) const;

  /**
   * The entry at `position` or the first behind it; `position` is moved behind that. 0, ENOENT at the end, EIO.
   */
  int NextEntry(const Inode& directory, DirectoryPosition& position, Entry& entry) const;

  /** The target of a symlink, in the bootstrap's memory. 0 or EIO. */
  int ReadLink(const Inode& link, std::string_view& target) const;

  /** The xattr at `at`, 0 for the first; `at` is moved behind it. 0, ENOENT at the end, EIO. */
  int NextXattr(const Inode& inode, uint64_t& at, Xattr& xattr) const;

  /** Where the byte at `offset` of a regular file is, and how far that goes, cut at the end of the file. 0 or EIO. */
  int ExtentAt(const Inode& file, uint64_t offset, Extent& extent) const;

 private:
  struct Block {
    uint64_t at;
    uint64_t length;
    uint64_t count;
  };

  int CheckBody(const Inode& inode) const;
  int CheckFile(const Inode& file) const;
  int DirectoryBlock(const Inode& directory, uint64_t index, Block& block) const;
  int NameIn(const Block& block, uint64_t entry, std::string_view& name) const;
  int LastBlockNotAbove(const Inode& directory, std::string_view name, Block& block) const;

  ByteView bytes_;
  std::vector<DeviceBounds> devices_;
  uint64_t meta_at_ = 0;
  uint64_t root_nid_ = 0;
  uint64_t name_count_ = 0;
  uint64_t chunk_size_ = 0;
  int64_t build_time_ = 0;
  uint32_t build_time_nsec_ = 0;
};

}  // namespace naiad
