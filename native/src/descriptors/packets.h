// Connections that keep the bounds of messages, and what is passed over them: memory as a file, one descriptor made another's
// name. Descriptors made here are close-on-exec; calls that give one answer with it, or with the errno made negative.
#pragma once

#include <napi.h>

namespace naiad {

/** connectPackets(path: Buffer, timeoutMs: number): descriptor | -errno. SOCK_SEQPACKET; a send waits that long at most. */
Napi::Value ConnectPackets(const Napi::CallbackInfo& info);

/** peerPid(socket: number): pid | -errno. The process that listens, or listened, at the other end. */
Napi::Value PeerPid(const Napi::CallbackInfo& info);

/** duplicateOver(from: number, to: number): errno. `to` becomes another name of what `from` is. */
Napi::Value DuplicateOver(const Napi::CallbackInfo& info);

/** memoryFile(bytes: Buffer): descriptor | -errno. A file in memory that holds `bytes` and can never be changed. */
Napi::Value MemoryFile(const Napi::CallbackInfo& info);

}  // namespace naiad
