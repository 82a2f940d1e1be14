// Everything that is ever asked of a bootstrap, of any bytes.
#include "image/bootstrap.h"

#include <sys/stat.h>

#include <algorithm>
#include <string>

#include "fuzz.h"

namespace {

/** Entries and inodes looked at of one input: a directory may name the same inode ten thousand times. */
constexpr int kInodesMax = 500;
constexpr int kEntriesMax = 2000;

void AskOfFile(const naiad::Bootstrap& image, const naiad::Inode& file) {
  naiad::Extent extent;
  for (const uint64_t offset : {uint64_t{0}, file.size / 2, file.size - 1, file.size}) {
    if (image.ExtentAt(file, offset, extent) != 0) continue;
    if (extent.device >= image.devices().size()) __builtin_trap();
    if (extent.size == 0 || extent.device_offset + extent.size > image.devices()[extent.device].size) __builtin_trap();
  }
}

void AskOfDirectory(const naiad::Bootstrap& image, const naiad::Inode& directory) {
  naiad::DirectoryPosition position = 0;
  naiad::Entry entry;
  for (int i = 0; i < kEntriesMax && image.NextEntry(directory, position, entry) == 0; i++) {
    if (entry.name.empty() || entry.name.size() > 255) __builtin_trap();
    uint64_t nid;
    image.Lookup(directory, std::string(entry.name), nid);
  }
  uint64_t nid;
  image.Lookup(directory, "\xff", nid);
  image.Lookup(directory, "", nid);
  position = UINT64_MAX;
  image.NextEntry(directory, position, entry);
}

void AskAll(const naiad::Bootstrap& image, uint64_t nid) {
  naiad::Inode inode;
  if (image.Locate(nid, inode) != 0) return;
  naiad::Xattr xattr;
  uint64_t at = 0;
  while (image.NextXattr(inode, at, xattr) == 0) continue;
  std::string_view target;
  image.ReadLink(inode, target);
  if (S_ISREG(inode.mode)) AskOfFile(image, inode);
  if (S_ISDIR(inode.mode)) AskOfDirectory(image, inode);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  naiad::Bootstrap image;
  // As many devices as the file says there are, so that it is not refused for that.
  const uint16_t count = size > 1024 + 88 ? static_cast<uint16_t>(data[1024 + 86] | data[1024 + 87] << 8) : 0;
  std::vector<naiad::DeviceBounds> devices(count, {uint64_t{1} << 30, 1 << 20});
  if (image.Open(naiad::ByteView(data, size), std::move(devices)) != 0) return 0;
  AskAll(image, image.root_nid());
  for (uint64_t nid = 1; nid < std::min<uint64_t>(kInodesMax, size / 32); nid++) AskAll(image, nid);
  AskAll(image, UINT64_MAX);
  return 0;
}
