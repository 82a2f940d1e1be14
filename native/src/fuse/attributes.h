// An inode as FUSE shows it, and for how long the kernel may believe that: for ever, since an image does not change.
#pragma once

#include "fuse/protocol.h"
#include "image/bootstrap.h"

namespace naiad {

/** Ten years. */
inline constexpr uint64_t kForeverSec = 10 * 365 * 86'400;
inline constexpr uint32_t kBlockSize = 4096;

inline fuse_attr AttributesOf(const Inode& inode) {
  fuse_attr attributes{};
  attributes.ino = inode.nid;
  attributes.size = inode.size;
  attributes.blocks = (inode.size + kBlockSize - 1) / kBlockSize * (kBlockSize / 512);
  attributes.mtime = attributes.atime = attributes.ctime = static_cast<uint64_t>(inode.mtime);
  attributes.mtimensec = attributes.atimensec = attributes.ctimensec = inode.mtime_nsec;
  attributes.mode = inode.mode;
  attributes.nlink = inode.nlink;
  attributes.uid = inode.uid;
  attributes.gid = inode.gid;
  attributes.rdev = inode.rdev;
  attributes.blksize = kBlockSize;
  return attributes;
}

inline fuse_entry_out EntryOf(uint64_t node, const Inode& inode) {
  fuse_entry_out entry{};
  entry.nodeid = node;
  entry.entry_valid = entry.attr_valid = kForeverSec;
  entry.attr = AttributesOf(inode);
  return entry;
}

}  // namespace naiad
