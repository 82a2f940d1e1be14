// Descriptors sent between processes over a Unix socket (SCM_RIGHTS). Plain C++: the addon and programs beside it use it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace naiad {

/** Descriptors of one message; the kernel takes no more (SCM_MAX_FD). */
inline constexpr size_t kPassedDescriptorsMax = 253;

/**
 * Sends `bytes`, at least one, with `descriptors`, which stay the caller's. A partly sent message is an error.
 * 0 or the errno.
 */
int SendDescriptors(int socket, const std::string& bytes, const std::vector<int>& descriptors);

struct ReceivedMessage {
  /** Empty when the other side has closed. */
  std::string bytes;
  /** Close-on-exec, and the caller's to close. */
  std::vector<int> descriptors;
};

/**
 * Receives one message of at most `size_max` bytes, after waiting for `timeout_ms` at the longest (-1: without end).
 * 0 or the errno: ETIMEDOUT, EMSGSIZE when something was cut off (its descriptors are closed then).
 */
int ReceiveDescriptors(int socket, size_t size_max, int timeout_ms, ReceivedMessage& message);

}  // namespace naiad
