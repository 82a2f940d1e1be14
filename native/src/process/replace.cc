#include "process/replace.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "arguments.h"

namespace naiad {

Napi::Value ReplaceProcess(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  std::string text = arguments.Bytes(0);
  if (!arguments.Ok()) return info.Env().Undefined();
  std::vector<char*> words;
  for (size_t at = 0; at < text.size(); at += strlen(text.data() + at) + 1) words.push_back(text.data() + at);
  if (words.empty()) return Napi::Number::New(info.Env(), EINVAL);
  words.push_back(nullptr);
  // Node sees to it that no child inherits them.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) fcntl(stream, F_SETFD, 0);
  return ErrnoOf(info.Env(), execv(words[0], words.data()));
}

}  // namespace naiad
