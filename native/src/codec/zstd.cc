#include "codec/zstd.h"

#include <zstd.h>

#include <memory>

namespace naiad {

namespace {

struct ContextDeleter {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

/** Keeps both arrays until it is done. */
class Decompressor : public Napi::AsyncWorker {
 public:
  Decompressor(Napi::Env env, Napi::Uint8Array room, Napi::Uint8Array stored)
      : Napi::AsyncWorker(env, "naiad"),
        deferred_(Napi::Promise::Deferred::New(env)),
        room_(Napi::Reference<Napi::Value>::New(room, 1)),
        stored_(Napi::Reference<Napi::Value>::New(stored, 1)),
        to_(room.Data()),
        toSize_(room.ByteLength()),
        from_(stored.Data()),
        fromSize_(stored.ByteLength()) {}

  Napi::Promise Promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    thread_local const std::unique_ptr<ZSTD_DCtx, ContextDeleter> context(ZSTD_createDCtx());
    if (!context) return;
    const size_t size = ZSTD_decompressDCtx(context.get(), to_, toSize_, from_, fromSize_);
    if (!ZSTD_isError(size)) size_ = static_cast<double>(size);
  }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), size_)); }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::Reference<Napi::Value> room_;
  Napi::Reference<Napi::Value> stored_;
  uint8_t* to_;
  size_t toSize_;
  const uint8_t* from_;
  size_t fromSize_;
  double size_ = -1;
};

bool IsBytes(const Napi::Value& value) {
  return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
}

}  // namespace

Napi::Value ZstdDecompress(const Napi::CallbackInfo& info) {
  if (!IsBytes(info[0]) || !IsBytes(info[1])) {
    Napi::TypeError::New(info.Env(), "both arguments must be Uint8Arrays").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  // Node deletes it when it is done.
  auto* job = new Decompressor(info.Env(), info[0].As<Napi::Uint8Array>(), info[1].As<Napi::Uint8Array>());
  const Napi::Promise promise = job->Promise();
  job->Queue();
  return promise;
}

}  // namespace naiad
