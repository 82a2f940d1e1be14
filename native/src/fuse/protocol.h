// The kernel's FUSE protocol: <linux/fuse.h>, and what newer kernels added to it since the oldest header we build with.
// https://docs.kernel.org/filesystems/fuse/ and include/uapi/linux/fuse.h.
#pragma once

#include <linux/fuse.h>

#include <cstdint>

namespace naiad {

// 7.36: flags of INIT beyond 32 bits; 7.40: requests re-sent to a successor; 7.41: mounts with mapped ids.
inline constexpr uint64_t kInitExtended = uint64_t{1} << 30;
inline constexpr uint64_t kHasResend = uint64_t{1} << 39;
inline constexpr uint64_t kAllowIdmap = uint64_t{1} << 40;
inline constexpr int32_t kNotifyResend = 7;
inline constexpr uint32_t kOpcodeStatx = 52;

/** The version we speak; the kernel takes the lower one of both. */
inline constexpr uint32_t kMajor = 7;
inline constexpr uint32_t kMinor = 41;
/** Below, requests have other sizes (Linux 4.20). */
inline constexpr uint32_t kMinorMin = 28;

}  // namespace naiad
