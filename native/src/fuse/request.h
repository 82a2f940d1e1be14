// One request of the kernel, taken apart: a header, the record of its operation, names that end with a NUL.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

#include "fuse/protocol.h"
#include "image/bytes.h"

namespace naiad {

class Request {
 public:
  /** `bytes` is what one read of the device gave. */
  explicit Request(ByteView bytes) {
    if (!bytes.Has(0, sizeof(header_))) return;
    std::memcpy(&header_, bytes.data(), sizeof(header_));
    // Of a cut or a padded request nothing is certain.
    if (header_.len != bytes.size()) return;
    body_ = ByteView(bytes.data() + sizeof(header_), bytes.size() - sizeof(header_));
    is_whole_ = true;
  }

  bool is_whole() const { return is_whole_; }
  const fuse_in_header& header() const { return header_; }
  uint64_t body_size() const { return body_.size(); }

  /** The record that the body starts with; false when the body is too short. */
  template <typename Record>
  bool Get(Record& record) const {
    if (!body_.Has(0, sizeof(record))) return false;
    std::memcpy(&record, body_.data(), sizeof(record));
    return true;
  }

  /** As `Get`, of a record that older kernels send without its end: what is not there is zero. */
  template <typename Record>
  void GetPrefix(Record& record) const {
    record = {};
    if (body_.size() > 0) std::memcpy(&record, body_.data(), std::min<uint64_t>(sizeof(record), body_.size()));
  }

  /** The name at `at` of the body, without its NUL; empty when it has none. */
  std::string_view Name(uint64_t at) const {
    if (at > body_.size()) return {};
    const std::string_view rest = body_.Text(at, body_.size() - at);
    const size_t end = rest.find('\0');
    return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
  }

 private:
  fuse_in_header header_{};
  ByteView body_;
  bool is_whole_ = false;
};

}  // namespace naiad
