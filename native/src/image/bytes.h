// Bytes from outside, read with every access checked. Little-endian, as all that is read here.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace naiad {

static_assert(std::endian::native == std::endian::little, "fields are loaded as they lie in memory");

/** A number in a record: its type, and where it lies from the record's start. */
template <typename T>
struct Field {
  uint64_t offset;
};

/** A range of memory that somebody else owns. */
class ByteView {
 public:
  ByteView() = default;
  ByteView(const void* data, uint64_t size) : data_(static_cast<const uint8_t*>(data)), size_(size) {}

  uint64_t size() const { return size_; }
  const uint8_t* data() const { return data_; }

  /** True when `size` bytes from `at` are inside. */
  bool Has(uint64_t at, uint64_t size) const { return at <= size_ && size <= size_ - at; }

  /** A field of the record at `at`; zero outside, so that a check that was forgotten reads no other memory. */
  template <typename T>
  T Get(uint64_t at, Field<T> field) const {
    T value = 0;
    if (at <= size_ && Has(at + field.offset, sizeof(T))) std::memcpy(&value, data_ + at + field.offset, sizeof(T));
    return value;
  }

  /** The bytes at `at`; none when they are not all inside. */
  std::string_view Text(uint64_t at, uint64_t size) const {
    if (!Has(at, size)) return {};
    return {reinterpret_cast<const char*>(data_) + at, size};
  }

 private:
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace naiad
