#include "kvasir/cli/sampling_options.h"

#include <limits>

#include "kvasir/cli/flags.h"

namespace kvasir {

namespace {

// Far beyond every vocabulary and context; the engine knows the exact bounds.
constexpr size_t kTokensMax = size_t{1} << 24;

}  // namespace

SamplingParams SamplingOptions::Params() const {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = static_cast<uint32_t>(top_k);
  params.top_p = top_p;
  params.min_p = min_p;
  params.repetition_penalty = repetition_penalty;
  params.seed = seed;
  return params;
}

void AddSamplingFlags(CLI::App& app, size_t token_count_max_default, SamplingOptions* options) {
  options->token_count_max = token_count_max_default;
  AddCountFlag(app, "-n,--max-tokens", &options->token_count_max, 1, kTokensMax,
               "longest answer (default: " + std::to_string(token_count_max_default) + ")");
  AddNumberFlag(app, "--temperature", &options->temperature, 0, 10,
                "0 takes the likeliest token always, so that\nanswers repeat; 0.7 is lively "
                "(default: 0)");
  AddCountFlag(app, "--top-k", &options->top_k, 0, kTokensMax,
               "draw from the k likeliest tokens, 0 = all");
  AddNumberFlag(app, "--top-p", &options->top_p, 0, 1,
                "draw from the likeliest tokens that have\nthis probability together, 1 = all");
  AddNumberFlag(app, "--min-p", &options->min_p, 0, 1,
                "leave out tokens below this share of the\nlikeliest one's probability, 0 = none");
  AddNumberFlag(app, "--repetition-penalty", &options->repetition_penalty, 0.1f, 10,
                "above 1 makes tokens seen before less likely");
  AddCountFlag(app, "--seed", &options->seed, 0, std::numeric_limits<size_t>::max(),
               "the same seed draws the same tokens (default: 0)");
  AddTextsFlag(app, "--stop", &options->stops, "end the answer before this text; repeatable");
}

}  // namespace kvasir
