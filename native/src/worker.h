// One system call on a worker thread; the promise is resolved with 0 or the errno, never rejected.
#pragma once

#include <napi.h>

#include <cerrno>
#include <functional>
#include <utility>

namespace naiad {

class ErrnoWorker : public Napi::AsyncWorker {
 public:
  /** Runs `call`, which owns all that it needs and touches no JavaScript, and gives the promise of its errno. */
  static Napi::Value Run(Napi::Env env, std::function<int()> call) {
    // Node deletes the worker when it is done.
    auto* worker = new ErrnoWorker(env, std::move(call));
    const Napi::Value promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 protected:
  void Execute() override { error_ = call_() < 0 ? errno : 0; }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), error_)); }

 private:
  ErrnoWorker(Napi::Env env, std::function<int()> call)
      : Napi::AsyncWorker(env, "naiad"), deferred_(Napi::Promise::Deferred::New(env)), call_(std::move(call)) {}

  Napi::Promise::Deferred deferred_;
  std::function<int()> call_;
  int error_ = 0;
};

}  // namespace naiad
