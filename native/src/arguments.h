// Arguments of a call, checked: the first one of a wrong kind throws a TypeError, and `Ok` turns false.
#pragma once

#include <napi.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace naiad {

class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : env_(info.Env()) {
    for (size_t i = 0; i < info.Length(); i++) values_.push_back(info[i]);
  }

  /** Values that came otherwise than as arguments. */
  Arguments(Napi::Env env, std::vector<napi_value> values) : env_(env), values_(std::move(values)) {}

  bool Ok() const { return ok_; }

  /** A Buffer without NUL bytes, as the C string that system calls take. */
  std::string Text(size_t index) {
    if (!At(index).IsBuffer()) return Fail(index, "a Buffer"), std::string();
    const auto buffer = At(index).As<Napi::Buffer<char>>();
    std::string text(buffer.Data(), buffer.Length());
    if (text.find('\0') != std::string::npos) return Fail(index, "free of NUL bytes"), std::string();
    return text;
  }

  /** Any bytes. */
  std::string Bytes(size_t index) {
    if (!At(index).IsBuffer()) return Fail(index, "a Buffer"), std::string();
    const auto buffer = At(index).As<Napi::Buffer<char>>();
    return std::string(buffer.Data(), buffer.Length());
  }

  /** A whole number of at most 53 bits. */
  int64_t Integer(size_t index) {
    if (!At(index).IsNumber()) return Fail(index, "a number"), 0;
    const double value = At(index).As<Napi::Number>().DoubleValue();
    if (!(std::fabs(value) <= kSafeIntegerMax) || std::trunc(value) != value) return Fail(index, "an integer"), 0;
    return static_cast<int64_t>(value);
  }

  /** An array of descriptors. */
  std::vector<int> Descriptors(size_t index) {
    std::vector<int> descriptors;
    if (!At(index).IsArray()) return Fail(index, "an array of descriptors"), descriptors;
    const auto array = At(index).As<Napi::Array>();
    for (uint32_t i = 0; i < array.Length(); i++) {
      const Napi::Value value = array[i];
      const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
      if (!(number >= 0 && number <= kDescriptorMax) || std::trunc(number) != number) {
        return Fail(index, "an array of descriptors"), std::vector<int>();
      }
      descriptors.push_back(static_cast<int>(number));
    }
    return descriptors;
  }

 private:
  static constexpr double kSafeIntegerMax = 9007199254740991.0;
  static constexpr double kDescriptorMax = 2147483647.0;

  Napi::Value At(size_t index) const {
    return index < values_.size() ? Napi::Value(env_, values_[index]) : env_.Undefined();
  }

  void Fail(size_t index, const char* expected) {
    if (!ok_) return;
    ok_ = false;
    const std::string message = "argument " + std::to_string(index) + " must be " + expected;
    Napi::TypeError::New(env_, message).ThrowAsJavaScriptException();
  }

  Napi::Env env_;
  std::vector<napi_value> values_;
  bool ok_ = true;
};

/** What every call without a result gives back: 0 or the errno. Must follow the system call directly. */
inline Napi::Value ErrnoOf(Napi::Env env, int64_t result) {
  return Napi::Number::New(env, result < 0 ? errno : 0);
}

}  // namespace naiad
