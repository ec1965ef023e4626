// SamplingOptions: the flags that say how tokens are chosen and when an answer ends.

#ifndef KVASIR_CLI_SAMPLING_OPTIONS_H_
#define KVASIR_CLI_SAMPLING_OPTIONS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "kvasir/kernels/sampling.h"

namespace CLI {
class App;
}

namespace kvasir {

struct SamplingOptions {
  float temperature = 0;  // greedy: the same question gives the same answer
  size_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  size_t seed = 0;
  size_t token_count_max = 0;
  std::vector<std::string> stops = {};

  SamplingParams Params() const;
};

// `token_count_max_default` is what --max-tokens is without the flag.
void AddSamplingFlags(CLI::App& app, size_t token_count_max_default, SamplingOptions* options);

}  // namespace kvasir

#endif  // KVASIR_CLI_SAMPLING_OPTIONS_H_
