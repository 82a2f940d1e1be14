// What a fuzz target is, for libFuzzer and for native/fuzz/replay.cc alike: bytes in, no crash and no endless loop.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
