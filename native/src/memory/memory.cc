#include "memory/memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace naiad {

#ifdef __GLIBC__

namespace {

/** More only keep what threads have freed from each other. */
constexpr int kArenasMax = 2;
/** From this size on, memory goes back to the system when it is freed. glibc would raise it to the largest block ever freed. */
constexpr int kMappedSizeMin = 128 * 1024;

}  // namespace

Napi::Value LimitMemory(const Napi::CallbackInfo& info) {
  const bool limited = mallopt(M_ARENA_MAX, kArenasMax) == 1 && mallopt(M_MMAP_THRESHOLD, kMappedSizeMin) == 1 &&
                       mallopt(M_TRIM_THRESHOLD, kMappedSizeMin) == 1;
  return Napi::Boolean::New(info.Env(), limited);
}

#else

Napi::Value LimitMemory(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), false); }

#endif

}  // namespace naiad
