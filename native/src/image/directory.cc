// Directories of a bootstrap. A block is an array of entries followed by their names; names ascend over all blocks.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "image/bootstrap.h"
#include "image/layout.h"

namespace naiad {

namespace {

namespace dirent = layout::erofs_dirent;

constexpr uint64_t kBlockSize = 4096;
constexpr uint32_t kLayoutInline = 2;
constexpr uint64_t kNameSizeMax = 255;
/** A position is block * this + entry; a block has at most 4096 / 12 entries. */
constexpr uint64_t kEntriesPerBlock = 512;

uint64_t BlockCount(const Inode& directory) { return (directory.size + kBlockSize - 1) / kBlockSize; }

}  // namespace

int Bootstrap::DirectoryBlock(const Inode& directory, uint64_t index, Block& block) const {
  block.length = std::min(kBlockSize, directory.size - index * kBlockSize);
  const bool is_inline = directory.layout == kLayoutInline && block.length < kBlockSize;
  block.at = is_inline ? directory.body_at : (directory.u + index) * kBlockSize;
  if (!bytes_.Has(block.at, block.length) || block.length < dirent::kRecordSize) return EIO;
  const uint64_t first_name = bytes_.Get(block.at, dirent::kNameOffset);
  if (first_name < dirent::kRecordSize || first_name % dirent::kRecordSize != 0 || first_name > block.length) return EIO;
  block.count = first_name / dirent::kRecordSize;
  return 0;
}

int Bootstrap::NameIn(const Block& block, uint64_t entry, std::string_view& name) const {
  const uint64_t at = block.at + entry * dirent::kRecordSize;
  const bool is_last = entry + 1 == block.count;
  const uint64_t start = bytes_.Get(at, dirent::kNameOffset);
  const uint64_t end = is_last ? block.length : bytes_.Get(at + dirent::kRecordSize, dirent::kNameOffset);
  if (start < block.count * dirent::kRecordSize || start >= end || end > block.length) return EIO;
  name = bytes_.Text(block.at + start, end - start);
  if (is_last) name = name.substr(0, name.find('\0'));
  if (name.empty() || name.size() > kNameSizeMax) return EIO;
  if (name.find('/') != std::string_view::npos || name.find('\0') != std::string_view::npos) return EIO;
  return 0;
}

/** The only block that can hold `name`. */
int Bootstrap::LastBlockNotAbove(const Inode& directory, std::string_view name, Block& block) const {
  uint64_t low = 0;
  uint64_t high = BlockCount(directory) - 1;
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2;
    std::string_view first;
    if (DirectoryBlock(directory, middle, block) != 0 || NameIn(block, 0, first) != 0) return EIO;
    if (first <= name) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return DirectoryBlock(directory, low, block);
}

int Bootstrap::Lookup(const Inode& directory, std::string_view name, uint64_t& nid) const {
  if ((directory.mode & S_IFMT) != S_IFDIR) return ENOTDIR;
  if (directory.size == 0) return ENOENT;
  Block block;
  if (LastBlockNotAbove(directory, name, block) != 0) return EIO;
  uint64_t from = 0;
  uint64_t to = block.count;
  while (from < to) {
    const uint64_t middle = from + (to - from) / 2;
    std::string_view found;
    if (NameIn(block, middle, found) != 0) return EIO;
    const int order = found.compare(name);
    if (order == 0) {
      nid = bytes_.Get(block.at + middle * dirent::kRecordSize, dirent::kNid);
      return 0;
    }
    if (order < 0) {
      from = middle + 1;
    } else {
      to = middle;
    }
  }
  return ENOENT;
}

int Bootstrap::NextEntry(const Inode& directory, DirectoryPosition& position, Entry& entry) const {
  if ((directory.mode & S_IFMT) != S_IFDIR) return ENOTDIR;
  uint64_t index = position / kEntriesPerBlock;
  uint64_t number = position % kEntriesPerBlock;
  Block block;
  if (index >= BlockCount(directory)) return ENOENT;
  if (DirectoryBlock(directory, index, block) != 0) return EIO;
  if (number >= block.count) {
    index++;
    number = 0;
    if (index >= BlockCount(directory)) return ENOENT;
    if (DirectoryBlock(directory, index, block) != 0) return EIO;
  }
  if (NameIn(block, number, entry.name) != 0) return EIO;
  const uint64_t at = block.at + number * dirent::kRecordSize;
  entry.nid = bytes_.Get(at, dirent::kNid);
  entry.type = bytes_.Get(at, dirent::kType);
  position = index * kEntriesPerBlock + number + 1;
  return 0;
}

}  // namespace naiad
