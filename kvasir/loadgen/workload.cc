#include "kvasir/loadgen/workload.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace kvasir {

namespace {

// Which texts a seed is for: they must not meet.
enum SeedUse : uint64_t {
  kMessageSeed = 1,
  kPrefixSeed,
  kArrivalSeed,
  kBesideSeed,
  kTraceSeed,
  kWarmupSeed
};

uint64_t SeedFor(const WorkloadOptions& options, SeedUse use, uint64_t round, uint64_t number) {
  return MixSeeds(MixSeeds(MixSeeds(options.seed, use), round), number);
}

std::string SharedPrefix(const WorkloadOptions& options, const PromptMaker& prompts,
                         uint64_t round) {
  const uint64_t prefix_round = options.warm_prefix ? 0 : round;
  return prompts.Text(SeedFor(options, kPrefixSeed, prefix_round, 0), options.shared_prefix_tokens);
}

// Times between arrivals that do not know of each other are distributed exponentially.
class Arrivals {
 public:
  Arrivals(double rate_per_s, uint64_t seed) : rate_per_s_(rate_per_s), seed_(seed) {}

  // 0, then later and later; always 0 without a rate.
  double NextMs() {
    if (rate_per_s_ == 0) return 0;
    const double due_ms = next_ms_;
    seed_ = MixSeeds(seed_, 0);
    const double uniform = static_cast<double>(seed_ >> 11) * 0x1p-53;  // [0, 1)
    next_ms_ += -std::log1p(-uniform) / rate_per_s_ * 1000;
    return due_ms;
  }

 private:
  const double rate_per_s_;
  uint64_t seed_;
  double next_ms_ = 0;
};

size_t Scaled(size_t token_count, double scale) {
  return std::max<size_t>(1, static_cast<size_t>(static_cast<double>(token_count) * scale + 0.5));
}

// A block's text comes from its id alone: equal prefixes of ids are equal texts. A last block that
// is not full is cut.
std::string TraceText(const WorkloadOptions& options, const PromptMaker& prompts, uint64_t round,
                      const TraceRequest& request) {
  const size_t block_tokens = Scaled(kTraceBlockTokens, options.trace_scale);
  size_t left = Scaled(request.input_tokens, options.trace_scale);
  std::string text;
  for (const uint64_t id : request.hash_ids) {
    const size_t count = std::min(left, block_tokens);
    text += prompts.Text(SeedFor(options, kTraceSeed, round, id), count);
    left -= count;
  }
  return text;
}

Workload MakeTraceWorkload(const WorkloadOptions& options, const PromptMaker& prompts,
                           uint64_t round) {
  Workload workload;
  workload.concurrency = options.concurrency;
  const double first_ms = options.trace.front().timestamp_ms;
  for (const TraceRequest& request : options.trace) {
    Conversation conversation;
    conversation.due_ms = (request.timestamp_ms - first_ms) / options.trace_speed;
    conversation.turns.push_back({TraceText(options, prompts, round, request),
                                  Scaled(request.output_tokens, options.trace_scale)});
    workload.conversations.push_back(std::move(conversation));
  }
  return workload;
}

std::string Number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%g", value);
  return buffer;
}

}  // namespace

size_t Workload::request_count() const {
  size_t count = 0;
  for (const Conversation& conversation : conversations) count += conversation.turns.size();
  return count;
}

Workload MakeWorkload(const WorkloadOptions& options, const PromptMaker& prompts, uint64_t round) {
  if (!options.trace.empty()) return MakeTraceWorkload(options, prompts, round);
  Workload workload;
  workload.concurrency = options.concurrency;
  const std::string prefix = SharedPrefix(options, prompts, round);
  Arrivals arrivals(options.rate_per_s, SeedFor(options, kArrivalSeed, round, 0));
  for (size_t i = 0; i < options.request_count; ++i) {
    Conversation conversation;
    conversation.due_ms = arrivals.NextMs();
    conversation.system = prefix;
    for (size_t turn = 0; turn < options.turn_count; ++turn) {
      const uint64_t seed = SeedFor(options, kMessageSeed, round, i * options.turn_count + turn);
      conversation.turns.push_back(
          {prompts.Text(seed, options.input_tokens), options.output_tokens});
    }
    workload.conversations.push_back(std::move(conversation));
  }
  for (size_t i = 0; options.beside_tokens > 0 && i < options.beside_count; ++i) {
    Conversation beside;
    const uint64_t seed = SeedFor(options, kBesideSeed, round, i);
    beside.turns.push_back({prompts.Text(seed, options.beside_tokens), 1});
    workload.beside.push_back(std::move(beside));
  }
  return workload;
}

Conversation MakeWarmup(const WorkloadOptions& options, const PromptMaker& prompts,
                        uint64_t number) {
  constexpr size_t kInputTokens = 16, kOutputTokens = 4;
  Conversation conversation;
  if (options.warm_prefix) conversation.system = SharedPrefix(options, prompts, 0);
  conversation.turns.push_back(
      {prompts.Text(SeedFor(options, kWarmupSeed, 0, number), kInputTokens), kOutputTokens});
  return conversation;
}

std::string DescribeWorkload(const WorkloadOptions& options) {
  const std::string paced =
      options.concurrency > 0  ? ", at most " + std::to_string(options.concurrency) + " at a time"
      : options.rate_per_s > 0 ? ", " + Number(options.rate_per_s) + " a second"
      : options.trace.empty()  ? ", all at once"
                               : "";
  if (!options.trace.empty()) {
    return "trace of " + std::to_string(options.trace.size()) + " requests, " +
           Number(options.trace_speed) + " times as fast, lengths times " +
           Number(options.trace_scale) + paced;
  }
  const std::string turns =
      options.turn_count > 1 ? " of " + std::to_string(options.turn_count) + " turns" : "";
  const std::string prefix = options.shared_prefix_tokens == 0
                                 ? ""
                                 : std::to_string(options.shared_prefix_tokens) + " shared + ";
  const std::string beside =
      options.beside_tokens == 0
          ? ""
          : ", beside prompts of " + std::to_string(options.beside_tokens) + " tokens";
  return std::to_string(options.request_count) +
         (options.turn_count > 1 ? " conversations" : " requests") + turns + paced + ", " + prefix +
         std::to_string(options.input_tokens) + " tokens in, " +
         std::to_string(options.output_tokens) + " out" + beside;
}

Json WorkloadJson(const WorkloadOptions& options) {
  return {{"description", DescribeWorkload(options)},
          {"requests", options.trace.empty() ? options.request_count : options.trace.size()},
          {"input_tokens", options.input_tokens},
          {"output_tokens", options.output_tokens},
          {"shared_prefix", options.shared_prefix_tokens},
          {"warm_prefix", options.warm_prefix},
          {"turns", options.turn_count},
          {"concurrency", options.concurrency},
          {"rate_per_s", options.rate_per_s},
          {"beside_tokens", options.beside_tokens},
          {"trace_speed", options.trace_speed},
          {"trace_scale", options.trace_scale},
          {"seed", options.seed}};
}

}  // namespace kvasir
