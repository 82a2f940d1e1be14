// Reading files: from nodes to extents on devices, and from there bytes that are known to be there.
#include <algorithm>
#include <cerrno>

#include "fuse/server.h"

namespace naiad {

Outcome Server::Read(const Request& request, Reply& reply) {
  fuse_read_in in;
  Inode file;
  counters_.reads.fetch_add(1, std::memory_order_relaxed);
  reply.error = request.Get(in) && in.size <= reply.payload.size() ? 0 : EIO;
  if (reply.error == 0) reply.error = LocateNode(request.header().nodeid, file);
  if (reply.error != 0) return Outcome::kReply;
  if (in.offset >= file.size) return Outcome::kReply;
  const uint64_t size = std::min<uint64_t>(in.size, file.size - in.offset);
  reply.error = CheckReady(file, in.offset, size);
  if (reply.error == 0 || reply.error == EAGAIN) {
    Touched(file, in.offset, size, reply.error == EAGAIN ? request.header().unique : 0);
  }
  if (reply.error == EAGAIN) {
    counters_.waits.fetch_add(1, std::memory_order_relaxed);
    reply.miss = {request.header().unique, file.nid, in.offset, static_cast<uint32_t>(size), request.header().pid};
    return Outcome::kMiss;
  }
  if (reply.error == 0) reply.error = CopyRange(file, in.offset, size, reply.payload.data());
  if (reply.error == 0) reply.size = size;
  if (reply.error == 0) counters_.read_bytes.fetch_add(size, std::memory_order_relaxed);
  return Outcome::kReply;
}

void Server::Complete(const Miss& miss, Reply& reply) {
  Inode file;
  reply.unique = miss.unique;
  reply.size = 0;
  reply.error = image_.Locate(miss.nid, file);
  if (reply.error == 0) reply.error = CheckReady(file, miss.offset, miss.size);
  // Whoever said that all is there was wrong; asking again would have no end.
  if (reply.error == EAGAIN) reply.error = EIO;
  touches_.Arrived(miss.unique);
  if (reply.error == 0) reply.error = CopyRange(file, miss.offset, miss.size, reply.payload.data());
  if (reply.error == 0) {
    reply.size = miss.size;
    counters_.read_bytes.fetch_add(miss.size, std::memory_order_relaxed);
  } else {
    counters_.errors.fetch_add(1, std::memory_order_relaxed);
  }
}

int Server::CheckReady(const Inode& file, uint64_t offset, uint64_t size) const {
  for (const uint64_t end = offset + size; offset < end;) {
    Extent extent;
    if (int error = image_.ExtentAt(file, offset, extent)) return error;
    const uint64_t length = std::min(extent.size, end - offset);
    if (!devices_[extent.device].IsReady(extent.device_offset, length, extent.chunk)) return EAGAIN;
    offset += length;
  }
  return 0;
}

void Server::Touched(const Inode& file, uint64_t offset, uint64_t size, uint64_t request) {
  double now = 0;
  for (const uint64_t end = offset + size; offset < end;) {
    Extent extent;
    if (image_.ExtentAt(file, offset, extent) != 0) return;
    if (!touches_.Has(extent.device, extent.chunk)) {
      const uint64_t within = offset % image_.chunk_size();
      if (now == 0) now = MonotonicMs();
      const double wait = request == 0 ? 0 : Touches::kWaiting;
      touches_.Add({extent.device, extent.device_offset - within, file.nid, offset - within, now, wait}, extent.chunk,
                   request);
    }
    offset += std::min(extent.size, end - offset);
  }
}

int Server::CopyRange(const Inode& file, uint64_t offset, uint64_t size, uint8_t* to) const {
  for (const uint64_t end = offset + size; offset < end;) {
    Extent extent;
    if (int error = image_.ExtentAt(file, offset, extent)) return error;
    uint64_t length = std::min(extent.size, end - offset);
    // Chunks of one file mostly follow each other on the device; they are read at once.
    for (Extent next; offset + length < end; length += std::min(next.size, end - offset - length)) {
      if (int error = image_.ExtentAt(file, offset + length, next)) return error;
      if (next.device != extent.device || next.device_offset != extent.device_offset + length) break;
    }
    if (devices_[extent.device].Read(to, length, extent.device_offset) != 0) return EIO;
    offset += length;
    to += length;
  }
  return 0;
}

}  // namespace naiad
