// Files as Node's fs cannot make them. No call here follows a symlink at the end of its path.
#pragma once

#include <napi.h>

namespace naiad {

/** mknod(path: Buffer, mode: number, device: number): errno. `device` is Linux' dev_t; the umask applies to `mode`. */
Napi::Value Mknod(const Napi::CallbackInfo& info);

/** setTimes(path: Buffer, seconds: number, nanoseconds: number): errno. Sets the mtime; the atime stays. */
Napi::Value SetTimes(const Napi::CallbackInfo& info);

/** setXattr(path: Buffer, name: Buffer, value: Buffer): errno. Makes or replaces. */
Napi::Value SetXattr(const Napi::CallbackInfo& info);

/** getXattr(path: Buffer, name: Buffer): Buffer | errno. */
Napi::Value GetXattr(const Napi::CallbackInfo& info);

/** listXattrs(path: Buffer): Buffer | errno. Names, each with its NUL. */
Napi::Value ListXattrs(const Napi::CallbackInfo& info);

/** tryLock(fd: number, operation: number): errno. flock(2) of the open file; never waits: EWOULDBLOCK instead. */
Napi::Value TryLock(const Napi::CallbackInfo& info);

}  // namespace naiad
