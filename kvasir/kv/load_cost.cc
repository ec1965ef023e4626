#include "kvasir/kv/load_cost.h"

#include <algorithm>

namespace kvasir {
namespace {

constexpr double kGuessedLatencySeconds = 0.01;  // a seek
constexpr double kGuessedBytesPerSecond = 100e6;
// A burst counts for a quarter: a slow one among them passes, a lasting change shows after five.
constexpr double kNewWeight = 0.25;

// While no step was seen, computing a block is taken to cost as much as a network of 100 million
// weights needs for it on two cores with AVX2: 32 tokens at 300 a second.
constexpr double kGuessedComputeSeconds = 0.1;
// A wait that no block ends is not felt when it is this short, or this share of computing.
constexpr double kPatienceSecondsMin = 0.05;
constexpr double kPatienceShare = 0.1;
// A tier that is twice as slow as usual is waited for.
constexpr double kPatienceFactor = 2;
// So many blocks say what the pace is.
constexpr size_t kPaceBlockCount = 4;

}  // namespace

LoadCost::LoadCost(size_t block_bytes)
    : latency_seconds_(kGuessedLatencySeconds),
      block_seconds_(static_cast<double>(block_bytes) / kGuessedBytesPerSecond) {}

void LoadCost::Observe(const Burst& burst) {
  double latency, block;
  if (burst.block_count >= 2) {
    block = (burst.seconds - burst.first_seconds) / static_cast<double>(burst.block_count - 1);
    latency = std::max(0.0, burst.first_seconds - block);
  } else {
    // One number for two: both are wrong by the same factor.
    const double factor = burst.seconds / std::max(Seconds(1), 1e-9);
    latency = latency_seconds_ * factor;
    block = block_seconds_ * factor;
  }
  const double weight = observed_ ? kNewWeight : 1;
  latency_seconds_ += weight * (latency - latency_seconds_);
  block_seconds_ += weight * (block - block_seconds_);
  observed_ = true;
}

void LoadCost::ObserveSilence(double seconds) {
  latency_seconds_ = std::max(latency_seconds_, seconds);
  observed_ = true;
}

double LoadCost::Seconds(size_t block_count) const {
  return block_count == 0 ? 0 : latency_seconds_ + block_seconds_ * double(block_count);
}

LoadAnswer DecideLoad(const LoadQuestion& question, const LoadCost& cost) {
  LoadAnswer answer;
  answer.compute_seconds = question.compute_seconds > 0
                               ? question.compute_seconds
                               : kGuessedComputeSeconds * double(question.block_count);
  answer.expected_seconds = cost.Seconds(question.blocks_ahead + question.block_count);
  answer.load = question.block_count > 0 && answer.expected_seconds < answer.compute_seconds;
  const double shortest = std::max(kPatienceSecondsMin, kPatienceShare * answer.compute_seconds);
  answer.patience_seconds = std::clamp(kPatienceFactor * cost.Seconds(question.blocks_ahead + 1),
                                       shortest, std::max(shortest, answer.compute_seconds));
  return answer;
}

bool KeepWaiting(const LoadProgress& progress, const LoadAnswer& answer) {
  if (progress.seconds_since_last > answer.patience_seconds) return false;
  if (progress.seconds > std::max(answer.compute_seconds, answer.patience_seconds)) return false;
  if (progress.arrived_count <= kPaceBlockCount) return true;
  const double pace = progress.seconds_since_first / double(progress.arrived_count - 1);
  const double rest = double(progress.block_count - progress.arrived_count);
  return rest * pace <= rest / double(progress.block_count) * answer.compute_seconds;
}

}  // namespace kvasir
