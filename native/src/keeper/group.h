// The fanotify group: pre-content events of marked files, with the range that is about to be read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "keeper/protocol.h"

namespace keeper {

/** Events taken with one read. */
constexpr uint32_t kBatchMax = 16;

/** A new group; -1 with errno where the kernel or the privileges lack. */
int CreateGroup();

/** Events of the file behind `descriptor` on, or off. 0 or an errno. */
int Mark(int group, int descriptor, bool on);

/** Reads at most kBatchMax events that wait, as records without a file. 0 when none waits. */
uint32_t ReadGroup(int group, Record events[kBatchMax]);

/** Answers the event of that descriptor number: 0 lets the read go on, an errno ends it. False when nobody waits for it. */
bool Respond(int group, int number, uint32_t error);

/** What is missing to use pre-content events on files of `directory`: 0, or the errno of the first step that failed. */
int Probe(const char* directory);

}  // namespace keeper
