// Registers every operation of the addon; the operations are in the folders beside this file.
#include <napi.h>

#include "codec/zstd.h"
#include "descriptors/descriptors.h"
#include "descriptors/packets.h"
#include "digest/sha256.h"
#include "file/file.h"
#include "fuse/fuse.h"
#include "memory/memory.h"
#include "mount/mount.h"
#include "process/replace.h"

namespace {

Napi::Object Register(Napi::Env env, Napi::Object exports) {
  exports.Set("mknod", Napi::Function::New(env, naiad::Mknod, "mknod"));
  exports.Set("setTimes", Napi::Function::New(env, naiad::SetTimes, "setTimes"));
  exports.Set("setXattr", Napi::Function::New(env, naiad::SetXattr, "setXattr"));
  exports.Set("getXattr", Napi::Function::New(env, naiad::GetXattr, "getXattr"));
  exports.Set("listXattrs", Napi::Function::New(env, naiad::ListXattrs, "listXattrs"));
  exports.Set("tryLock", Napi::Function::New(env, naiad::TryLock, "tryLock"));
  exports.Set("limitMemory", Napi::Function::New(env, naiad::LimitMemory, "limitMemory"));
  exports.Set("replaceProcess", Napi::Function::New(env, naiad::ReplaceProcess, "replaceProcess"));
  exports.Set("mount", Napi::Function::New(env, naiad::Mount, "mount"));
  exports.Set("umount", Napi::Function::New(env, naiad::Umount, "umount"));
  exports.Set("socketPair", Napi::Function::New(env, naiad::SocketPair, "socketPair"));
  exports.Set("connectUnix", Napi::Function::New(env, naiad::ConnectUnix, "connectUnix"));
  exports.Set("sendDescriptors", Napi::Function::New(env, naiad::SendDescriptors, "sendDescriptors"));
  exports.Set("receiveDescriptors", Napi::Function::New(env, naiad::ReceiveDescriptors, "receiveDescriptors"));
  exports.Set("fuseStart", Napi::Function::New(env, naiad::FuseStart, "fuseStart"));
  exports.Set("fuseDone", Napi::Function::New(env, naiad::FuseDone, "fuseDone"));
  exports.Set("fuseStop", Napi::Function::New(env, naiad::FuseStop, "fuseStop"));
  exports.Set("fuseStatus", Napi::Function::New(env, naiad::FuseStatus, "fuseStatus"));
  exports.Set("fuseTouches", Napi::Function::New(env, naiad::FuseTouches, "fuseTouches"));
  exports.Set("fuseClone", Napi::Function::New(env, naiad::FuseClone, "fuseClone"));
  exports.Set("fuseResend", Napi::Function::New(env, naiad::FuseResend, "fuseResend"));
  exports.Set("connectPackets", Napi::Function::New(env, naiad::ConnectPackets, "connectPackets"));
  exports.Set("peerPid", Napi::Function::New(env, naiad::PeerPid, "peerPid"));
  exports.Set("duplicateOver", Napi::Function::New(env, naiad::DuplicateOver, "duplicateOver"));
  exports.Set("memoryFile", Napi::Function::New(env, naiad::MemoryFile, "memoryFile"));
  exports.Set("sha256Start", Napi::Function::New(env, naiad::Sha256Start, "sha256Start"));
  exports.Set("sha256Update", Napi::Function::New(env, naiad::Sha256Update, "sha256Update"));
  exports.Set("sha256UpdateAsync", Napi::Function::New(env, naiad::Sha256UpdateAsync, "sha256UpdateAsync"));
  exports.Set("sha256Copy", Napi::Function::New(env, naiad::Sha256Copy, "sha256Copy"));
  exports.Set("sha256Digest", Napi::Function::New(env, naiad::Sha256Digest, "sha256Digest"));
  exports.Set("zstdCompress", Napi::Function::New(env, naiad::ZstdCompress, "zstdCompress"));
  exports.Set("zstdDecompress", Napi::Function::New(env, naiad::ZstdDecompress, "zstdDecompress"));
  return exports;
}

}  // namespace

NODE_API_MODULE(naiad, Register)
