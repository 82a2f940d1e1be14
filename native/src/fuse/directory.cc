// Listing directories. Where a listing goes on is a place in the image, so that a successor can go on with it.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "fuse/attributes.h"
#include "fuse/server.h"

namespace naiad {

namespace {

/** d_type of an EROFS file type. */
uint32_t EntryType(uint8_t type) {
  switch (type) {
    case 1:
      return S_IFREG >> 12;
    case 2:
      return S_IFDIR >> 12;
    case 3:
      return S_IFCHR >> 12;
    case 4:
      return S_IFBLK >> 12;
    case 5:
      return S_IFIFO >> 12;
    case 6:
      return S_IFSOCK >> 12;
    case 7:
      return S_IFLNK >> 12;
    default:
      return 0;
  }
}

}  // namespace

int Server::ReadDirectory(const Request& request, bool with_attributes, Reply& reply) {
  fuse_read_in in;
  if (!request.Get(in)) return EIO;
  Inode directory;
  if (int error = LocateNode(request.header().nodeid, directory)) return error;
  const size_t size_max = std::min<size_t>(in.size, reply.payload.size());
  DirectoryPosition position = in.offset;
  Entry entry;
  int error;
  while ((error = image_.NextEntry(directory, position, entry)) == 0) {
    if (!PutEntry(entry, position, with_attributes, size_max, reply)) break;
  }
  // What came before a broken entry is shown; whoever goes on from there gets the error.
  return error == 0 || error == ENOENT || reply.size > 0 ? 0 : error;
}

/** False when there is no more room. */
bool Server::PutEntry(const Entry& entry, DirectoryPosition next, bool with_attributes, size_t size_max, Reply& reply) {
  const size_t head = with_attributes ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
  const size_t size = FUSE_DIRENT_ALIGN(head + entry.name.size());
  if (size > size_max - reply.size) return false;
  uint8_t* to = reply.payload.data() + reply.size;
  std::fill_n(to, size, uint8_t{0});
  if (with_attributes) {
    Inode inode;
    fuse_entry_out attributes{};
    // An entry without a node is listed, and looked up when somebody wants it. So are the two that are no names.
    const bool is_name = entry.name != "." && entry.name != "..";
    if (is_name && image_.Locate(entry.nid, inode) == 0) attributes = EntryOf(NodeOf(entry.nid), inode);
    std::memcpy(to, &attributes, sizeof(attributes));
    to += sizeof(attributes);
  }
  fuse_dirent record{};
  record.ino = entry.nid;
  record.off = next;
  record.namelen = static_cast<uint32_t>(entry.name.size());
  record.type = EntryType(entry.type);
  std::memcpy(to, &record, FUSE_NAME_OFFSET);
  std::copy(entry.name.begin(), entry.name.end(), to + FUSE_NAME_OFFSET);
  reply.size += size;
  return true;
}

}  // namespace naiad
