// The floor that FUSE drivers are compared with: as little as a read-only file system over libfuse 3's low-level interface
// can be. Attributes and names of a directory are read once at the start and answered from memory, bytes come from the
// directory's files. Many threads, a descriptor each; the kernel may keep everything.
//
//   naiad-floor DIRECTORY MOUNTPOINT       serves in the foreground until it is unmounted
#define FUSE_USE_VERSION 35
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr double kForever = 86400;

struct Node {
  struct stat status = {};
  std::string path;
  std::string target;
  std::vector<std::pair<std::string, fuse_ino_t>> children;
  std::unordered_map<std::string, fuse_ino_t> by_name;
};

// By inode number less one; FUSE's root is 1. Never changes once it is filled, so threads need no lock.
std::deque<Node> nodes;
std::map<std::pair<dev_t, ino_t>, fuse_ino_t> linked;

const Node& NodeOf(fuse_ino_t number) { return nodes[number - 1]; }

fuse_ino_t Add(const std::string& path) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0) return 0;
  const auto key = std::make_pair(status.st_dev, status.st_ino);
  if (const auto found = linked.find(key); found != linked.end()) return found->second;
  const fuse_ino_t number = nodes.size() + 1;
  linked[key] = number;
  Node& node = nodes.emplace_back();
  node.path = path;
  node.status = status;
  node.status.st_ino = number;
  if (S_ISLNK(status.st_mode)) {
    char target[4096];
    const ssize_t size = readlink(path.c_str(), target, sizeof target);
    if (size > 0) node.target.assign(target, static_cast<size_t>(size));
  }
  if (!S_ISDIR(status.st_mode)) return number;
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return number;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const fuse_ino_t child = Add(path + "/" + name);
    if (child == 0) continue;
    // `node` stays where it is: a deque does not move what it holds when it grows at its end.
    node.children.emplace_back(name, child);
    node.by_name.emplace(name, child);
  }
  closedir(directory);
  return number;
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry = {};
  entry.attr_timeout = entry.entry_timeout = kForever;
  const auto& names = NodeOf(parent).by_name;
  if (const auto found = names.find(name); found != names.end()) {
    entry.ino = found->second;
    entry.attr = NodeOf(found->second).status;
  }
  fuse_reply_entry(request, &entry);
}

void GetAttributes(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  fuse_reply_attr(request, &NodeOf(number).status, kForever);
}

void ReadLink(fuse_req_t request, fuse_ino_t number) { fuse_reply_readlink(request, NodeOf(number).target.c_str()); }

void Open(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  const int file = open(NodeOf(number).path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  info->fh = static_cast<uint64_t>(file);
  info->keep_cache = 1;
  fuse_reply_open(request, info);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  fuse_bufvec data = FUSE_BUFVEC_INIT(size);
  data.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  data.buf[0].fd = static_cast<int>(info->fh);
  data.buf[0].pos = offset;
  fuse_reply_data(request, &data, FUSE_BUF_SPLICE_MOVE);
}

void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  close(static_cast<int>(info->fh));
  fuse_reply_err(request, 0);
}

void OpenDirectory(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  info->cache_readdir = 1;
  info->keep_cache = 1;
  fuse_reply_open(request, info);
}

void ReadDirectory(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset, fuse_file_info*) {
  std::vector<char> reply(size);
  const Node& node = NodeOf(number);
  size_t used = 0;
  for (size_t index = static_cast<size_t>(offset); index < node.children.size() + 2; index++) {
    const char* const name = index == 0 ? "." : index == 1 ? ".." : node.children[index - 2].first.c_str();
    const fuse_ino_t child = index < 2 ? number : node.children[index - 2].second;
    const size_t needed = fuse_add_direntry(request, reply.data() + used, size - used, name, &NodeOf(child).status,
                                            static_cast<off_t>(index + 1));
    if (needed > size - used) break;
    used += needed;
  }
  fuse_reply_buf(request, reply.data(), used);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || Add(argv[1]) != FUSE_ROOT_ID) {
    fprintf(stderr, "usage: naiad-floor DIRECTORY MOUNTPOINT\n");
    return 2;
  }
  fuse_lowlevel_ops operations = {};
  operations.lookup = Lookup;
  operations.getattr = GetAttributes;
  operations.readlink = ReadLink;
  operations.open = Open;
  operations.read = Read;
  operations.release = Release;
  operations.opendir = OpenDirectory;
  operations.readdir = ReadDirectory;
  char* options[] = {argv[0], const_cast<char*>("-oro,fsname=naiad-floor,allow_other,default_permissions"), nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(2, options);
  fuse_session* const session = fuse_session_new(&arguments, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_session_mount(session, argv[2]) != 0) return 1;
  fuse_loop_config config = {};
  config.clone_fd = 1;
  config.max_idle_threads = 10;
  const int result = fuse_session_loop_mt(session, &config);
  fuse_session_unmount(session);
  fuse_session_destroy(session);
  return result == 0 ? 0 : 1;
}
