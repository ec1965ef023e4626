// Workload: what is asked of a server, and when, decided before anything is sent. Everything is a
// conversation; a lone request is one of a single turn. Made anew for each round, because a
// server's cache must not know the prompts of the round before. Pure functions of options, seed and
// round; values.

#ifndef KVASIR_LOADGEN_WORKLOAD_H_
#define KVASIR_LOADGEN_WORKLOAD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/loadgen/prompt_maker.h"
#include "kvasir/loadgen/trace_file.h"

namespace kvasir {

struct WorkloadOptions {
  size_t request_count = 16;
  size_t input_tokens = 256;  // of each user's message; the chat template adds its own
  size_t output_tokens = 64;
  size_t shared_prefix_tokens = 0;  // in front of every conversation, as the system's message
  // The shared prefix stays the same from round to round, and each server reads it once before its
  // first.
  bool warm_prefix = false;
  size_t turn_count = 1;     // of each conversation
  size_t concurrency = 0;    // closed loop of so many; 0 = as they are due
  double rate_per_s = 0;     // open loop: Poisson arrivals; 0 = all at once
  size_t beside_tokens = 0;  // long prompts that are read while the answer is written; 0 = none
  size_t beside_count = 4;
  std::vector<TraceRequest> trace;  // instead of all of the above, but for concurrency
  double trace_speed = 1;           // times faster
  double trace_scale = 1;           // lengths are multiplied by it
  uint64_t seed = 0;
};

struct Turn {
  std::string text;
  size_t output_tokens = 0;
};

struct Conversation {
  double due_ms = 0;   // since the round began
  std::string system;  // empty: none
  std::vector<Turn> turns;
};

struct Workload {
  std::vector<Conversation> conversations;  // due times rise
  size_t concurrency = 0;                   // at most so many at once; 0 = no bound
  // Sent one after the other, each once the first conversation has received a further
  // kBesideAfterChunks chunks.
  std::vector<Conversation> beside;

  size_t request_count() const;
};

// Enough of the answer to know the gaps between its tokens without anything beside it.
inline constexpr size_t kBesideAfterChunks = 32;

Workload MakeWorkload(const WorkloadOptions& options, const PromptMaker& prompts, uint64_t round);

// One short request that is not measured: it shows that the server answers and touches its memory.
// With warm_prefix it carries the shared prefix.
Conversation MakeWarmup(const WorkloadOptions& options, const PromptMaker& prompts,
                        uint64_t number);

// "16 requests at once, 256 tokens in, 64 out".
std::string DescribeWorkload(const WorkloadOptions& options);
Json WorkloadJson(const WorkloadOptions& options);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_WORKLOAD_H_
