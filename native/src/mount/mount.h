// mount(2) and umount2(2). mount(8) would turn a file into a loop device and add mtab locking; this does neither.
#pragma once

#include <napi.h>

namespace naiad {

/** mount(source: Buffer, target: Buffer, type: Buffer, flags: number, options: Buffer): Promise<errno>. */
Napi::Value Mount(const Napi::CallbackInfo& info);

/** umount(target: Buffer, flags: number): Promise<errno>. */
Napi::Value Umount(const Napi::CallbackInfo& info);

}  // namespace naiad
