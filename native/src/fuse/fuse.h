// FUSE sessions, as the addon offers them. A session is named by a number; one that is unknown is a RangeError.
#pragma once

#include <napi.h>

namespace naiad {

/**
 * fuseStart(options, onEvent): number (the session), or the negative errno.
 * options: { bootstrap: Buffer, devices: [{ dataFd, mapFd, readyAt, size, starts: BigUint64Array, sizes: Uint32Array }],
 * descriptors: number[], threads: number, minor: number, flags: number, touchesMax: number }. Descriptors of /dev/fuse stay the caller's and
 * open until fuseStop; those of devices are duplicated. `bootstrap` must not change. `minor` 0: the kernel has yet to ask with INIT.
 * onEvent(misses: Float64Array of [id, nid, offset, size, …], ended: boolean).
 */
Napi::Value FuseStart(const Napi::CallbackInfo& info);

/** fuseDone(session, id, errno): a miss can be answered. */
Napi::Value FuseDone(const Napi::CallbackInfo& info);

/** fuseStop(session): Promise. Ends its threads; the kernel goes on waiting for answers as long as a descriptor is open. */
Napi::Value FuseStop(const Napi::CallbackInfo& info);

/** fuseStatus(session): { minor, flags, requests, reads, waits, readBytes, errors, parked }. `minor` is 0 before INIT. */
Napi::Value FuseStatus(const Napi::CallbackInfo& info);

/**
 * fuseTouches(session): { touches: Float64Array of [device, deviceOffset, nid, fileOffset, atMs, waitMs, …], cut: boolean };
 * times of the monotonic clock, waitMs -1 while somebody waits.
 */
Napi::Value FuseTouches(const Napi::CallbackInfo& info);

/** fuseClone(fd): descriptor, or the negative errno. */
Napi::Value FuseClone(const Napi::CallbackInfo& info);

/** fuseResend(fd): errno. */
Napi::Value FuseResend(const Napi::CallbackInfo& info);

}  // namespace naiad
