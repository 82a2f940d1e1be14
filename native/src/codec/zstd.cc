#include "codec/zstd.h"

#include <zstd.h>

#include <cstring>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace naiad {

namespace {

/** Work on a thread of the pool, whose promise is resolved with a number. Keeps its arrays until it is done. */
class Job : public Napi::AsyncWorker {
 public:
  Job(Napi::Env env, std::initializer_list<Napi::Value> arrays)
      : Napi::AsyncWorker(env, "naiad"), deferred_(Napi::Promise::Deferred::New(env)) {
    for (const Napi::Value& array : arrays) kept_.push_back(Napi::Reference<Napi::Value>::New(array, 1));
  }

  /** Node deletes the job when it is done. */
  static Napi::Promise Start(Job* job) {
    const Napi::Promise promise = job->deferred_.Promise();
    job->Queue();
    return promise;
  }

 protected:
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), result_)); }

  double result_ = -1;

 private:
  Napi::Promise::Deferred deferred_;
  std::vector<Napi::Reference<Napi::Value>> kept_;
};

struct ContextDeleter {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

/** What compressing takes beside the chunks. */
struct Scratch {
  std::unique_ptr<ZSTD_CCtx, ContextDeleter> context{ZSTD_createCCtx()};
  std::vector<uint8_t> frame;
};

/** As many as have been in use at once: one for every thread of the pool could be much memory, at high levels. */
class Scratches {
 public:
  std::unique_ptr<Scratch> Take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(idle_.back());
    idle_.pop_back();
    return scratch;
  }

  void Return(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Compressor : public Job {
 public:
  Compressor(Napi::Uint8Array bytes, Napi::Uint32Array sizes, Napi::Uint32Array storedSizes, int level)
      : Job(bytes.Env(), {bytes, sizes, storedSizes}),
        bytes_(bytes.Data()),
        sizes_(sizes.Data()),
        storedSizes_(storedSizes.Data()),
        count_(sizes.ElementLength()),
        level_(level) {}

 protected:
  void Execute() override {
    static Scratches scratches;
    const double start = ThreadSeconds();
    std::unique_ptr<Scratch> scratch = scratches.Take();
    if (scratch->context && Compress(*scratch)) result_ = ThreadSeconds() - start;
    scratches.Return(std::move(scratch));
  }

 private:
  bool Compress(Scratch& scratch) {
    ZSTD_CCtx* context = scratch.context.get();
    if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level_))) return false;
    const uint8_t* from = bytes_;
    uint8_t* to = bytes_;
    for (size_t i = 0; i < count_; i++) {
      const size_t size = sizes_[i];
      if (scratch.frame.size() < ZSTD_compressBound(size)) scratch.frame.resize(ZSTD_compressBound(size));
      const size_t framed = ZSTD_compress2(context, scratch.frame.data(), scratch.frame.size(), from, size);
      if (ZSTD_isError(framed)) return false;
      const bool smaller = framed < size;
      const size_t stored = smaller ? framed : size;
      // It never outgrows its chunk: the chunks behind are still where they were.
      std::memmove(to, smaller ? scratch.frame.data() : from, stored);
      storedSizes_[i] = static_cast<uint32_t>(stored);
      from += size;
      to += stored;
    }
    return true;
  }

  uint8_t* bytes_;
  const uint32_t* sizes_;
  uint32_t* storedSizes_;
  size_t count_;
  int level_;
};

class Decompressor : public Job {
 public:
  Decompressor(Napi::Uint8Array room, Napi::Uint8Array stored)
      : Job(room.Env(), {room, stored}),
        to_(room.Data()),
        toSize_(room.ByteLength()),
        from_(stored.Data()),
        fromSize_(stored.ByteLength()) {}

 protected:
  void Execute() override {
    thread_local const std::unique_ptr<ZSTD_DCtx, ContextDeleter> context(ZSTD_createDCtx());
    if (!context) return;
    const size_t size = ZSTD_decompressDCtx(context.get(), to_, toSize_, from_, fromSize_);
    if (!ZSTD_isError(size)) result_ = static_cast<double>(size);
  }

 private:
  uint8_t* to_;
  size_t toSize_;
  const uint8_t* from_;
  size_t fromSize_;
};

bool IsArray(const Napi::Value& value, napi_typedarray_type type) {
  return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
}

Napi::Value Throw(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

}  // namespace

Napi::Value ZstdCompress(const Napi::CallbackInfo& info) {
  if (!IsArray(info[0], napi_uint8_array) || !IsArray(info[1], napi_uint32_array) ||
      !IsArray(info[2], napi_uint32_array) || !info[3].IsNumber()) {
    return Throw(info.Env(), "the arguments must be a Uint8Array, two Uint32Arrays and a number");
  }
  const auto bytes = info[0].As<Napi::Uint8Array>();
  const auto sizes = info[1].As<Napi::Uint32Array>();
  const auto storedSizes = info[2].As<Napi::Uint32Array>();
  uint64_t size = 0;
  for (size_t i = 0; i < sizes.ElementLength(); i++) size += sizes.Data()[i];
  if (size > bytes.ByteLength() || sizes.ElementLength() > storedSizes.ElementLength()) {
    return Throw(info.Env(), "the chunks must be within their arrays");
  }
  return Job::Start(new Compressor(bytes, sizes, storedSizes, info[3].As<Napi::Number>().Int32Value()));
}

Napi::Value ZstdDecompress(const Napi::CallbackInfo& info) {
  if (!IsArray(info[0], napi_uint8_array) || !IsArray(info[1], napi_uint8_array)) {
    return Throw(info.Env(), "both arguments must be Uint8Arrays");
  }
  return Job::Start(new Decompressor(info[0].As<Napi::Uint8Array>(), info[1].As<Napi::Uint8Array>()));
}

}  // namespace naiad
