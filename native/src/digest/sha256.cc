#include "digest/sha256.h"

#include <openssl/evp.h>

#include <memory>

namespace naiad {

namespace {

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

struct Hash {
  std::unique_ptr<EVP_MD_CTX, ContextDeleter> context{EVP_MD_CTX_new()};
  bool busy = false;
};

constexpr napi_type_tag kHashTag = {0x6e61696164736861, 0x3235362068617368};

Napi::Value Throw(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

Napi::Value Wrap(Napi::Env env, std::unique_ptr<Hash> hash) {
  auto external = Napi::External<Hash>::New(env, hash.release(), [](Napi::Env, Hash* ended) { delete ended; });
  external.TypeTag(&kHashTag);
  return external;
}

/** The hash that is the first argument; null, with an exception pending, when it is none, used up or busy. */
Hash* HashOf(const Napi::CallbackInfo& info) {
  if (!info[0].IsExternal() || !info[0].As<Napi::External<Hash>>().CheckTypeTag(&kHashTag)) {
    return Throw(info.Env(), "argument 0 must be a hash"), nullptr;
  }
  Hash* hash = info[0].As<Napi::External<Hash>>().Data();
  if (hash->busy) return Throw(info.Env(), "the hash is busy"), nullptr;
  if (!hash->context) return Throw(info.Env(), "the hash is used up"), nullptr;
  return hash;
}

bool HasBytes(const Napi::CallbackInfo& info) {
  if (info[1].IsTypedArray() && info[1].As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) return true;
  Throw(info.Env(), "argument 1 must be a Uint8Array");
  return false;
}

/** Keeps the hash and the bytes until it is done. */
class Updater : public Napi::AsyncWorker {
 public:
  Updater(Napi::External<Hash> external, Napi::Uint8Array bytes)
      : Napi::AsyncWorker(external.Env(), "naiad"),
        deferred_(Napi::Promise::Deferred::New(external.Env())),
        external_(Napi::Reference<Napi::Value>::New(external, 1)),
        bytes_(Napi::Reference<Napi::Value>::New(bytes, 1)),
        hash_(external.Data()),
        data_(bytes.Data()),
        size_(bytes.ByteLength()) {
    hash_->busy = true;
  }

  Napi::Promise Promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    if (!EVP_DigestUpdate(hash_->context.get(), data_, size_)) SetError("sha256 failed");
  }
  void OnOK() override {
    hash_->busy = false;
    deferred_.Resolve(Env().Undefined());
  }
  void OnError(const Napi::Error& error) override {
    hash_->busy = false;
    deferred_.Reject(error.Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::Reference<Napi::Value> external_;
  Napi::Reference<Napi::Value> bytes_;
  Hash* hash_;
  const uint8_t* data_;
  size_t size_;
};

}  // namespace

Napi::Value Sha256Start(const Napi::CallbackInfo& info) {
  auto hash = std::make_unique<Hash>();
  if (!hash->context || !EVP_DigestInit_ex(hash->context.get(), EVP_sha256(), nullptr)) {
    return Throw(info.Env(), "sha256 is not to be had");
  }
  return Wrap(info.Env(), std::move(hash));
}

Napi::Value Sha256Update(const Napi::CallbackInfo& info) {
  Hash* hash = HashOf(info);
  if (!hash || !HasBytes(info)) return info.Env().Undefined();
  const auto bytes = info[1].As<Napi::Uint8Array>();
  if (!EVP_DigestUpdate(hash->context.get(), bytes.Data(), bytes.ByteLength())) {
    return Throw(info.Env(), "sha256 failed");
  }
  return info.Env().Undefined();
}

Napi::Value Sha256UpdateAsync(const Napi::CallbackInfo& info) {
  if (!HashOf(info) || !HasBytes(info)) return info.Env().Undefined();
  // Node deletes it when it is done.
  auto* updater = new Updater(info[0].As<Napi::External<Hash>>(), info[1].As<Napi::Uint8Array>());
  const Napi::Promise promise = updater->Promise();
  updater->Queue();
  return promise;
}

Napi::Value Sha256Copy(const Napi::CallbackInfo& info) {
  Hash* hash = HashOf(info);
  if (!hash) return info.Env().Undefined();
  auto copy = std::make_unique<Hash>();
  if (!copy->context || !EVP_MD_CTX_copy_ex(copy->context.get(), hash->context.get())) {
    return Throw(info.Env(), "sha256 failed");
  }
  return Wrap(info.Env(), std::move(copy));
}

Napi::Value Sha256Digest(const Napi::CallbackInfo& info) {
  Hash* hash = HashOf(info);
  if (!hash) return info.Env().Undefined();
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const bool finished = EVP_DigestFinal_ex(hash->context.get(), digest, &size);
  hash->context.reset();
  if (!finished) return Throw(info.Env(), "sha256 failed");
  return Napi::Buffer<unsigned char>::Copy(info.Env(), digest, size);
}

}  // namespace naiad
