// Times system calls on files of a mounted tree, so that what is measured is the file system and not a JavaScript engine.
//
//   naiad-prober OPERATION warm|cold LIST ROOT     LIST: a file of paths relative to ROOT, each ended by a NUL
//
// prints `operations nanoseconds bytes`. `warm` does everything once before it is measured. `cold` makes the kernel forget
// the listed files and all names first (root only); what serves them keeps what it has in memory.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

constexpr size_t kSmallRead = 64 << 10;
constexpr size_t kSequentialRead = 1 << 20;
constexpr size_t kRandomRead = 4 << 10;
constexpr uint64_t kRandomReads = 4096;

struct Totals {
  uint64_t operations = 0;
  uint64_t bytes = 0;
};

struct Subject {
  std::vector<std::string> paths;
  int root = -1;
};

[[noreturn]] void Fail(const char* what, const std::string& path) {
  fprintf(stderr, "%s %s: %s\n", what, path.c_str(), strerror(errno));
  exit(1);
}

int Open(const Subject& subject, const std::string& path, int flags) {
  const int file = openat(subject.root, path.c_str(), flags | O_CLOEXEC);
  if (file < 0) Fail("open", path);
  return file;
}

Totals Stat(const Subject& subject) {
  Totals totals;
  struct stat status;
  for (const std::string& path : subject.paths) {
    if (fstatat(subject.root, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) Fail("stat", path);
    totals.operations++;
  }
  return totals;
}

Totals OpenReadClose(const Subject& subject) {
  static char buffer[kSmallRead];
  Totals totals;
  for (const std::string& path : subject.paths) {
    const int file = Open(subject, path, O_RDONLY);
    const ssize_t count = read(file, buffer, sizeof buffer);
    if (count < 0) Fail("read", path);
    close(file);
    totals.operations++;
    totals.bytes += static_cast<uint64_t>(count);
  }
  return totals;
}

// Counts names, so that trees of few large directories compare with those of many small ones.
Totals ReadDirectories(const Subject& subject) {
  static char buffer[64 << 10];
  Totals totals;
  for (const std::string& path : subject.paths) {
    const int directory = Open(subject, path, O_RDONLY | O_DIRECTORY);
    for (;;) {
      const long size = syscall(SYS_getdents64, directory, buffer, sizeof buffer);
      if (size < 0) Fail("getdents", path);
      if (size == 0) break;
      for (long at = 0; at < size; at += reinterpret_cast<const dirent64*>(buffer + at)->d_reclen) totals.operations++;
    }
    close(directory);
  }
  return totals;
}

Totals ReadSequentially(const Subject& subject) {
  static char buffer[kSequentialRead];
  Totals totals;
  for (const std::string& path : subject.paths) {
    const int file = Open(subject, path, O_RDONLY);
    for (;;) {
      const ssize_t count = read(file, buffer, sizeof buffer);
      if (count < 0) Fail("read", path);
      if (count == 0) break;
      totals.operations++;
      totals.bytes += static_cast<uint64_t>(count);
    }
    close(file);
  }
  return totals;
}

// The same places on every file system and in every run: xorshift from a fixed start.
Totals ReadRandomly(const Subject& subject) {
  static char buffer[kRandomRead];
  Totals totals;
  uint64_t state = 88172645463325252u;
  const uint64_t each = kRandomReads / subject.paths.size() + 1;
  for (const std::string& path : subject.paths) {
    const int file = Open(subject, path, O_RDONLY);
    struct stat status;
    if (fstat(file, &status) != 0) Fail("stat", path);
    const uint64_t places = static_cast<uint64_t>(status.st_size) / kRandomRead;
    for (uint64_t index = 0; index < each && places > 0; index++) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      const ssize_t count = pread(file, buffer, sizeof buffer, static_cast<off_t>(state % places * kRandomRead));
      if (count < 0) Fail("pread", path);
      totals.operations++;
      totals.bytes += static_cast<uint64_t>(count);
    }
    close(file);
  }
  return totals;
}

struct Operation {
  const char* name;
  Totals (*run)(const Subject&);
};

constexpr Operation kOperations[] = {
    {"stat", Stat},
    {"open-read-close", OpenReadClose},
    {"readdir", ReadDirectories},
    {"sequential", ReadSequentially},
    {"random", ReadRandomly},
};

// Pages of the listed files and directories, then entries and inodes that have none. Twice: an inode is let go a round after
// the entry that held it.
void Forget(const Subject& subject) {
  struct stat status;
  for (const std::string& path : subject.paths) {
    if (fstatat(subject.root, path.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) Fail("stat", path);
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) continue;
    const int file = Open(subject, path, O_RDONLY | O_NONBLOCK);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
  const char* const path = "/proc/sys/vm/drop_caches";
  for (int round = 0; round < 2; round++) {
    const int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "2", 1) != 1) Fail("write", path);
    close(file);
  }
}

std::vector<std::string> ReadList(const char* name) {
  FILE* const list = fopen(name, "r");
  if (list == nullptr) Fail("open", name);
  std::vector<std::string> paths;
  std::string path;
  for (int byte = getc(list); byte != EOF; byte = getc(list)) {
    if (byte != 0) {
      path.push_back(static_cast<char>(byte));
      continue;
    }
    paths.push_back(path);
    path.clear();
  }
  fclose(list);
  return paths;
}

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: naiad-prober OPERATION warm|cold LIST ROOT\n");
    return 2;
  }
  for (const Operation& operation : kOperations) {
    if (strcmp(operation.name, argv[1]) != 0) continue;
    Subject subject;
    subject.paths = ReadList(argv[3]);
    subject.root = open(argv[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (subject.root < 0) Fail("open", argv[4]);
    if (subject.paths.empty()) {
      printf("0 0 0\n");
      return 0;
    }
    if (strcmp(argv[2], "cold") == 0) Forget(subject);
    else operation.run(subject);
    const uint64_t start = Now();
    const Totals totals = operation.run(subject);
    const uint64_t end = Now();
    printf("%llu %llu %llu\n", static_cast<unsigned long long>(totals.operations),
           static_cast<unsigned long long>(end - start), static_cast<unsigned long long>(totals.bytes));
    return 0;
  }
  fprintf(stderr, "no operation %s\n", argv[1]);
  return 2;
}
