// Passing descriptors, as the addon offers it.
#pragma once

#include <napi.h>

namespace naiad {

/** socketPair(): [number, number] | errno. Unix stream sockets, close-on-exec. */
Napi::Value SocketPair(const Napi::CallbackInfo& info);

/** connectUnix(path: Buffer): descriptor (0 or more), or the negative errno. A stream socket, close-on-exec. */
Napi::Value ConnectUnix(const Napi::CallbackInfo& info);

/** sendDescriptors(socket: number, bytes: Buffer, descriptors: number[]): errno. */
Napi::Value SendDescriptors(const Napi::CallbackInfo& info);

/**
 * receiveDescriptors(socket: number, sizeMax: number, timeoutMs: number): Promise<{bytes, descriptors} | errno>.
 * Waits on a worker.
 */
Napi::Value ReceiveDescriptors(const Napi::CallbackInfo& info);

}  // namespace naiad
