// naiad-keeper --socket PATH [--parent PID] [--group FD --journal FD] [-- COMMAND ARGUMENT…]   see keeper.h
// naiad-keeper --probe DIRECTORY                 exits with 0, or says the errno that rules pre-content events out there
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "keeper/group.h"
#include "keeper/keeper.h"

namespace {

/** All tables: nothing is allocated after the start. */
keeper::Keeper the_keeper;

int Usage() {
  fputs("usage: naiad-keeper --socket PATH [--parent PID] [--group FD --journal FD] [-- COMMAND ARGUMENT...]\n", stderr);
  return 2;
}

bool ParseOptions(int count, char** arguments, keeper::Options* options) {
  for (int i = 1; i < count; i++) {
    const bool valued = i + 1 < count;
    if (strcmp(arguments[i], "--") == 0) {
      options->command = valued ? &arguments[i + 1] : nullptr;
      break;
    }
    if (!valued) return false;
    if (strcmp(arguments[i], "--socket") == 0) {
      options->socket_path = arguments[++i];
    } else if (strcmp(arguments[i], "--group") == 0) {
      options->group = atoi(arguments[++i]);
    } else if (strcmp(arguments[i], "--parent") == 0) {
      options->parent = atoi(arguments[++i]);
    } else if (strcmp(arguments[i], "--journal") == 0) {
      options->journal = atoi(arguments[++i]);
    } else {
      return false;
    }
  }
  return options->socket_path != nullptr && (options->group < 0) == (options->journal < 0);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 3 && strcmp(arguments[1], "--probe") == 0) {
    const int error = keeper::Probe(arguments[2]);
    if (error == 0) return 0;
    printf("%d\n", error);
    return 1;
  }
  keeper::Options options = {nullptr, -1, -1, 0, nullptr};
  if (!ParseOptions(count, arguments, &options)) return Usage();
  // What the process that started this one forgot to close would be held by this one for ever.
  const int given = std::max({STDERR_FILENO, options.group, options.journal});
  close_range(static_cast<unsigned>(given) + 1, ~0u, 0);
  const int problem = the_keeper.Open(options);
  if (problem) return problem;
  the_keeper.Run();
  return 0;
}
