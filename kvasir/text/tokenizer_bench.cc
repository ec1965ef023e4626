// Encoding speed: tokenizer_bench MODEL TEXT_FILE [RUNS]. Prints megabytes and tokens per second of
// the fastest run, and how long the tokenizer took to make.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kvasir/text/tokenizer.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int Run(const std::string& model, const std::string& text_file, int runs) {
  const auto checkpoint = OpenCheckpoint(model);
  if (!checkpoint.ok()) {
    std::fprintf(stderr, "%s\n", checkpoint.status().message().c_str());
    return 2;
  }
  const Clock::time_point created = Clock::now();
  const auto tokenizer = Tokenizer::Create((*checkpoint)->tokenizer());
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().message().c_str());
    return 2;
  }
  std::printf("%s, made in %.0f ms\n", (*tokenizer)->Describe().c_str(),
              SecondsSince(created) * 1e3);
  std::ostringstream stream;
  stream << std::ifstream(text_file, std::ios::binary).rdbuf();
  const std::string text = stream.str();
  double seconds_min = 1e9;
  size_t token_count = 0;
  for (int i = 0; i < runs; ++i) {
    const Clock::time_point start = Clock::now();
    token_count = (*tokenizer)->Encode(text).size();
    seconds_min = std::min(seconds_min, SecondsSince(start));
  }
  std::printf("%zu bytes, %zu tokens, %.1f MB/s, %.2f million tokens/s\n", text.size(), token_count,
              static_cast<double>(text.size()) / seconds_min * 1e-6,
              static_cast<double>(token_count) / seconds_min * 1e-6);
  return 0;
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL TEXT_FILE [RUNS]\n");
    return 2;
  }
  return kvasir::Run(argv[1], argv[2], argc > 3 ? std::atoi(argv[3]) : 5);
}
