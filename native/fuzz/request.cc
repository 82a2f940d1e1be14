// Requests of a kernel that lost its mind, to a server of a sound image: every reply fits its buffer. An input is a row of
// requests, each behind its length in two bytes. The image is the file NAIAD_FUZZ_IMAGE.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "fuse/server.h"
#include "fuzz.h"

namespace {

std::string ReadFile(const char* path) {
  std::string bytes;
  FILE* file = path == nullptr ? nullptr : std::fopen(path, "rb");
  if (file == nullptr) std::abort();
  char piece[65'536];
  for (size_t count; (count = std::fread(piece, 1, sizeof(piece), file)) > 0;) bytes.append(piece, count);
  std::fclose(file);
  return bytes;
}

naiad::Server& TheServer() {
  static const std::string bytes = ReadFile(std::getenv("NAIAD_FUZZ_IMAGE"));
  static naiad::Server* const server = [] {
    naiad::Bootstrap image;
    const auto count = static_cast<uint8_t>(bytes.at(1024 + 86));
    std::vector<naiad::DeviceBounds> bounds(count, {uint64_t{1} << 30, 1 << 20});
    if (image.Open(naiad::ByteView(bytes.data(), bytes.size()), std::move(bounds)) != 0) std::abort();
    // Devices without chunks: every read is a miss, and completing one is an error.
    return new naiad::Server(std::move(image), std::vector<naiad::Device>(count), 1000);
  }();
  return *server;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  naiad::Server& server = TheServer();
  naiad::Reply reply(naiad::Server::kReadSizeMax);
  while (size >= 2) {
    const size_t length = std::min<size_t>(data[0] | data[1] << 8, size - 2);
    // A block of its own, so that reading behind it is seen.
    const std::string request(reinterpret_cast<const char*>(data) + 2, length);
    data += 2 + length;
    size -= 2 + length;
    const naiad::Outcome outcome = server.Handle(naiad::ByteView(request.data(), request.size()), reply);
    if (reply.size > reply.payload.size() || reply.error < 0) __builtin_trap();
    if (outcome != naiad::Outcome::kMiss) continue;
    server.Complete(reply.miss, reply);
    if (reply.error == 0) __builtin_trap();
  }
  return 0;
}
