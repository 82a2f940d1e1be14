// A fuzz target without libFuzzer: replay SECONDS SEED FILE… gives it each file, then mutations of them until the time is up.
// Built with AddressSanitizer; the input that it stops at is kept in ./replay-input.
#include <sanitizer/common_interface_defs.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "fuzz.h"

namespace {

using Input = std::vector<uint8_t>;

constexpr const char* kKept = "replay-input";
constexpr size_t kInputSizeMax = 256 * 1024;

Input ReadInput(const char* path) {
  Input input(kInputSizeMax);
  FILE* file = std::fopen(path, "rb");
  if (file == nullptr) std::exit(2);
  input.resize(std::fread(input.data(), 1, input.size(), file));
  std::fclose(file);
  return input;
}

Input at_hand;

void Keep() {
  FILE* file = std::fopen(kKept, "wb");
  if (file == nullptr) return;
  std::fwrite(at_hand.data(), 1, at_hand.size(), file);
  std::fclose(file);
}

void Run(const Input& input) {
  at_hand = input;
  // A block of exactly its size, so that reading behind it is seen.
  const Input exact(input);
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

/** Numbers that stand at the edges of checks. */
uint64_t Odd(std::mt19937_64& random) {
  static constexpr uint64_t kOdd[] = {0, 1, 2, 11, 12, 13, 31, 255, 4095, 4096, 65'535, 0x7fffffff, 0xffffffff, UINT64_MAX};
  return kOdd[random() % std::size(kOdd)] + random() % 3 - 1;
}

void Mutate(Input& input, std::mt19937_64& random) {
  for (uint64_t count = 1 + random() % 8; count > 0 && !input.empty(); count--) {
    // Half of them in the first kilobytes, where the fields are that decide most.
    const size_t reach = random() % 2 == 0 ? input.size() : std::min<size_t>(input.size(), 16'384);
    const size_t at = random() % reach;
    switch (random() % 5) {
      case 0:
        input[at] ^= static_cast<uint8_t>(1 << random() % 8);
        break;
      case 1:
        input[at] = static_cast<uint8_t>(random());
        break;
      case 2: {
        const uint64_t value = Odd(random);
        const size_t size = size_t{1} << random() % 4;
        for (size_t i = 0; i < size && at + i < input.size(); i++) input[at + i] = static_cast<uint8_t>(value >> 8 * i);
        break;
      }
      case 3:
        if (random() % 8 == 0) input.resize(at);
        break;
      default: {
        const size_t from = random() % input.size();
        for (size_t i = 0; i < 32 && at + i < input.size() && from + i < input.size(); i++) input[at + i] = input[from + i];
      }
    }
  }
}

}  // namespace

int main(int count, char** words) {
  if (count < 4) return 2;
  std::vector<Input> seeds;
  for (int i = 3; i < count; i++) seeds.push_back(ReadInput(words[i]));
  __sanitizer_set_death_callback(Keep);
  for (const Input& seed : seeds) Run(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(std::atoi(words[1]) * 1000);
  std::mt19937_64 seeding(std::strtoull(words[2], nullptr, 10));
  uint64_t inputs = 0;
  for (; std::chrono::steady_clock::now() < end; inputs++) {
    std::mt19937_64 random(seeding());
    Input input = seeds[random() % seeds.size()];
    Mutate(input, random);
    Run(input);
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(inputs));
  return 0;
}
