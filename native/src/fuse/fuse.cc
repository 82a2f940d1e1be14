#include "fuse/fuse.h"

#include <fcntl.h>

#include <map>
#include <memory>
#include <mutex>

#include "arguments.h"
#include "fuse/session.h"

namespace naiad {

namespace {

/** A session with its ties to JavaScript. Made and released on the thread of its environment. */
struct Handle {
  Napi::Reference<Napi::Buffer<uint8_t>> bootstrap;
  std::unique_ptr<Server> server;
  std::unique_ptr<Session> session;
  napi_threadsafe_function events = nullptr;
  /** A call of JavaScript is under way that will take all there is. */
  std::atomic<bool> woken{false};
};
using HandlePointer = std::shared_ptr<Handle>;

std::mutex handles_mutex;
std::map<int64_t, HandlePointer> handles;
int64_t next_handle = 1;

HandlePointer Find(const Napi::CallbackInfo& info, int64_t id) {
  std::lock_guard lock(handles_mutex);
  const auto found = handles.find(id);
  if (found != handles.end()) return found->second;
  Napi::RangeError::New(info.Env(), "no such FUSE session").ThrowAsJavaScriptException();
  return nullptr;
}

void StopAtExit(void* data) { static_cast<Handle*>(data)->session->Stop(); }

/** Runs in JavaScript's thread. */
void Deliver(napi_env raw, napi_value callback, void* context, void*) {
  const HandlePointer handle = *static_cast<HandlePointer*>(context);
  handle->woken.store(false, std::memory_order_seq_cst);
  if (raw == nullptr || callback == nullptr) return;
  Napi::Env env(raw);
  Napi::HandleScope scope(env);
  const std::vector<ParkedMiss> misses = handle->session->TakeMisses();
  Napi::Float64Array numbers = Napi::Float64Array::New(env, misses.size() * 4);
  size_t at = 0;
  for (const ParkedMiss& parked : misses) {
    for (const uint64_t number : {parked.id, parked.miss.nid, parked.miss.offset, uint64_t{parked.miss.size}}) {
      numbers[at++] = static_cast<double>(number);
    }
  }
  Napi::Function(env, callback).Call({numbers, Napi::Boolean::New(env, handle->session->ended())});
}

void Wake(Handle& handle) {
  if (handle.woken.exchange(true, std::memory_order_seq_cst)) return;
  napi_call_threadsafe_function(handle.events, nullptr, napi_tsfn_nonblocking);
}

bool CreateEvents(Napi::Env env, const HandlePointer& handle, const Napi::Function& on_event) {
  const auto release = [](napi_env, void*, void* context) { delete static_cast<HandlePointer*>(context); };
  auto* context = new HandlePointer(handle);
  const napi_status status =
      napi_create_threadsafe_function(env, on_event, nullptr, Napi::String::New(env, "naiad fuse"), 0, 1, nullptr,
                                      release, context, Deliver, &handle->events);
  if (status != napi_ok) delete context;
  return status == napi_ok;
}

int Duplicate(const Napi::Value& fd) { return fcntl(fd.As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3); }

/** 0 or the errno; what is of a wrong kind is EINVAL. */
int OpenDevice(const Napi::Value& value, Device& device) {
  if (!value.IsObject()) return EINVAL;
  const auto options = value.As<Napi::Object>();
  for (const char* name : {"dataFd", "mapFd", "readyAt", "size"}) {
    if (!options.Get(name).IsNumber()) return EINVAL;
  }
  const Napi::Value starts = options.Get("starts");
  const Napi::Value sizes = options.Get("sizes");
  if (!starts.IsTypedArray() || starts.As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array) return EINVAL;
  if (!sizes.IsTypedArray() || sizes.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) return EINVAL;
  const auto start_numbers = starts.As<Napi::BigUint64Array>();
  const auto size_numbers = sizes.As<Napi::Uint32Array>();
  ChunkPlaces chunks;
  chunks.starts.assign(start_numbers.Data(), start_numbers.Data() + start_numbers.ElementLength());
  chunks.sizes.assign(size_numbers.Data(), size_numbers.Data() + size_numbers.ElementLength());
  const int data_fd = Duplicate(options.Get("dataFd"));
  if (data_fd < 0) return errno;
  const int map_fd = Duplicate(options.Get("mapFd"));
  const int error = map_fd < 0 ? errno : 0;
  const auto ready_at = static_cast<uint64_t>(options.Get("readyAt").As<Napi::Number>().Int64Value());
  const auto size = static_cast<uint64_t>(options.Get("size").As<Napi::Number>().Int64Value());
  const int opened = device.Open(data_fd, map_fd, ready_at, size, std::move(chunks));
  return error != 0 ? error : opened;
}

int OpenImage(const Napi::Object& options, uint64_t touches_max, Handle& handle) {
  const Napi::Value bootstrap = options.Get("bootstrap");
  const Napi::Value list = options.Get("devices");
  if (!bootstrap.IsBuffer() || !list.IsArray()) return EINVAL;
  const auto values = list.As<Napi::Array>();
  std::vector<Device> devices;
  std::vector<DeviceBounds> bounds;
  for (uint32_t i = 0; i < values.Length(); i++) {
    Device& device = devices.emplace_back();
    if (int error = OpenDevice(values.Get(i), device)) return error;
    bounds.push_back({device.size(), device.chunk_count()});
  }
  const auto bytes = bootstrap.As<Napi::Buffer<uint8_t>>();
  Bootstrap image;
  if (int error = image.Open(ByteView(bytes.Data(), bytes.Length()), std::move(bounds))) return error;
  handle.bootstrap = Napi::Persistent(bytes);
  handle.server = std::make_unique<Server>(std::move(image), std::move(devices), touches_max);
  return 0;
}

class StopWorker : public Napi::AsyncWorker {
 public:
  StopWorker(Napi::Env env, HandlePointer handle)
      : Napi::AsyncWorker(env, "naiad"), deferred(Napi::Promise::Deferred::New(env)), handle_(std::move(handle)) {}

  Napi::Promise::Deferred deferred;

 protected:
  void Execute() override { handle_->session->Stop(); }
  void OnOK() override {
    napi_remove_env_cleanup_hook(Env(), StopAtExit, handle_.get());
    napi_release_threadsafe_function(handle_->events, napi_tsfn_release);
    deferred.Resolve(Env().Undefined());
  }

 private:
  HandlePointer handle_;
};

}  // namespace

Napi::Value FuseStart(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsObject() || !info[1].IsFunction()) {
    Napi::TypeError::New(env, "expected options and a function").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto options = info[0].As<Napi::Object>();
  std::vector<napi_value> numbers{options.Get("descriptors"), options.Get("threads"), options.Get("minor"),
                                  options.Get("flags"), options.Get("touchesMax")};
  Arguments arguments(env, std::move(numbers));
  std::vector<int> descriptors = arguments.Descriptors(0);
  const int64_t threads = arguments.Integer(1);
  const Negotiated negotiated{static_cast<uint32_t>(arguments.Integer(2)), static_cast<uint64_t>(arguments.Integer(3))};
  const auto touches_max = static_cast<uint64_t>(arguments.Integer(4));
  if (!arguments.Ok()) return env.Undefined();

  auto handle = std::make_shared<Handle>();
  int error = OpenImage(options, touches_max, *handle);
  if (error != 0) return Napi::Number::New(env, -error);
  if (negotiated.minor != 0) handle->server->Resume(negotiated);
  handle->session = std::make_unique<Session>(*handle->server, std::move(descriptors), static_cast<size_t>(threads),
                                              [raw = handle.get()] { Wake(*raw); });
  if (!CreateEvents(env, handle, info[1].As<Napi::Function>())) return Napi::Number::New(env, -ENOMEM);
  error = handle->session->Start();
  if (error != 0) {
    napi_release_threadsafe_function(handle->events, napi_tsfn_abort);
    return Napi::Number::New(env, -error);
  }
  napi_add_env_cleanup_hook(env, StopAtExit, handle.get());
  std::lock_guard lock(handles_mutex);
  handles.emplace(next_handle, handle);
  return Napi::Number::New(env, static_cast<double>(next_handle++));
}

Napi::Value FuseDone(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t id = arguments.Integer(0);
  const auto request = static_cast<uint64_t>(arguments.Integer(1));
  const auto error = static_cast<int>(arguments.Integer(2));
  if (!arguments.Ok()) return info.Env().Undefined();
  if (const HandlePointer handle = Find(info, id)) handle->session->Done(request, error);
  return info.Env().Undefined();
}

Napi::Value FuseStop(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t id = arguments.Integer(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  const HandlePointer handle = Find(info, id);
  if (!handle) return info.Env().Undefined();
  {
    std::lock_guard lock(handles_mutex);
    handles.erase(id);
  }
  auto* worker = new StopWorker(info.Env(), handle);
  const Napi::Value promise = worker->deferred.Promise();
  worker->Queue();
  return promise;
}

Napi::Value FuseStatus(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t id = arguments.Integer(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  const HandlePointer handle = Find(info, id);
  if (!handle) return info.Env().Undefined();
  const Server& server = *handle->server;
  const Counters& counters = server.counters();
  const Negotiated negotiated = server.is_ready() ? server.negotiated() : Negotiated{};
  Napi::Object status = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, uint64_t value) { status.Set(name, static_cast<double>(value)); };
  set("minor", negotiated.minor);
  set("flags", negotiated.flags);
  set("requests", counters.requests.load(std::memory_order_relaxed));
  set("reads", counters.reads.load(std::memory_order_relaxed));
  set("waits", counters.waits.load(std::memory_order_relaxed));
  set("readBytes", counters.read_bytes.load(std::memory_order_relaxed));
  set("errors", counters.errors.load(std::memory_order_relaxed));
  set("parked", handle->session->parked());
  return status;
}

Napi::Value FuseTouches(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t id = arguments.Integer(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  const HandlePointer handle = Find(info, id);
  if (!handle) return info.Env().Undefined();
  bool cut = false;
  const std::vector<Touch> touches = handle->server->touches().Read(cut);
  Napi::Float64Array numbers = Napi::Float64Array::New(info.Env(), touches.size() * 6);
  size_t at = 0;
  for (const Touch& touch : touches) {
    for (const uint64_t number : {uint64_t{touch.device}, touch.device_offset, touch.nid, touch.file_offset}) {
      numbers[at++] = static_cast<double>(number);
    }
    numbers[at++] = touch.at_ms;
    numbers[at++] = touch.wait_ms;
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("touches", numbers);
  result.Set("cut", cut);
  return result;
}

Napi::Value FuseClone(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto fd = static_cast<int>(arguments.Integer(0));
  if (!arguments.Ok()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), CloneDescriptor(fd));
}

Napi::Value FuseResend(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const auto fd = static_cast<int>(arguments.Integer(0));
  if (!arguments.Ok()) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), ResendRequests(fd));
}

}  // namespace naiad
