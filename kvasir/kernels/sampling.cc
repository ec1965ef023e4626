#include "kvasir/kernels/sampling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>

#include "kvasir/base/check.h"

// This file is plain C++ for the baseline instruction set, with inner loops of a fixed length that
// the compiler turns into vectors. It is not dispatched: a row of logits is read once or twice a
// token, a thousandth of the weights, and one build of the exponential means that every CPU draws
// the same token from the same logits.

namespace kvasir {
namespace {

using Candidate = std::pair<float, TokenId>;  // logit or weight, id

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr size_t kLanes = 16;  // four SSE registers: hides the latency of a maximum

// The largest of 16 logits. A NaN loses every comparison, so it never enters.
float MaxOfLanes(const float* logits) {
  float lanes[kLanes / 2];
  for (size_t i = 0; i < kLanes / 2; ++i) {
    const float low = logits[i] > -kInfinity ? logits[i] : -kInfinity;
    lanes[i] = logits[i + kLanes / 2] > low ? logits[i + kLanes / 2] : low;
  }
  float result = lanes[0];
  for (size_t i = 1; i < kLanes / 2; ++i) result = lanes[i] > result ? lanes[i] : result;
  return result;
}

// The largest logit, -inf when there is none above it.
float MaxLogit(std::span<const float> logits) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -kInfinity);
  const size_t whole = logits.size() / kLanes * kLanes;
  for (size_t first = 0; first < whole; first += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) {
      lanes[i] = logits[first + i] > lanes[i] ? logits[first + i] : lanes[i];
    }
  }
  float result = MaxOfLanes(lanes);
  for (size_t i = whole; i < logits.size(); ++i) result = logits[i] > result ? logits[i] : result;
  return result;
}

// e^x for x <= 0 to about 1 unit in the last place; 0 for NaN and below the smallest normal float.
// Written out because the C library picks its exponential by CPU, and two of them need not agree in
// the last bit.
inline float ExpNonPositive(float x) {
  constexpr float kLowest = -87.0f;           // e^-87 = 1.6e-38, above the smallest normal float
  constexpr float kRounder = 12582912.0f;     // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLog2E = 1.44269504f;       // 1 / ln 2
  constexpr float kLn2High = 0.693359375f;    // 355 / 512: n * kLn2High is exact for |n| < 2^15
  constexpr float kLn2Low = -2.12194440e-4f;  // ln 2 - kLn2High
  const float clamped = x > kLowest ? x : kLowest;
  const float shifted = clamped * kLog2E + kRounder;
  const float n = shifted - kRounder;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;  // |r| <= ln(2) / 2
  // The Taylor series: the first term left out is r^8 / 8! <= 5.2e-9, a twelfth of half a unit.
  float sum = 1.0f / 5040;
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  // The low bits of `shifted` hold n: moved into the exponent they multiply by 2^n.
  const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) + 127u) << 23;
  const float result = sum * std::bit_cast<float>(exponent);
  return x >= kLowest ? result : 0.0f;
}

// The weight of a logit relative to the largest one, which has weight 1 (also when it is +inf).
inline float Weight(float logit, float max_logit, float temperature) {
  const float weight = ExpNonPositive((logit - max_logit) / temperature);
  return logit == max_logit ? 1.0f : weight;
}

// The order of top-k and top-p: falling, the lowest id first among equals. Ids differ, so it is
// strict and the result of a selection does not depend on the algorithm.
bool RanksBefore(const Candidate& a, const Candidate& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

// Writes the weights of the whole row, in order of id.
void WeighRow(std::span<const float> logits, float max_logit, float temperature,
              std::vector<Candidate>* candidates) {
  candidates->resize(logits.size());
  const size_t whole = logits.size() / kLanes * kLanes;
  for (size_t first = 0; first < whole; first += kLanes) {
    float weights[kLanes];
    for (size_t i = 0; i < kLanes; ++i) {
      weights[i] = Weight(logits[first + i], max_logit, temperature);
    }
    for (size_t i = 0; i < kLanes; ++i) {
      (*candidates)[first + i] = {weights[i], static_cast<TokenId>(first + i)};
    }
  }
  for (size_t i = whole; i < logits.size(); ++i) {
    (*candidates)[i] = {Weight(logits[i], max_logit, temperature), static_cast<TokenId>(i)};
  }
}

// Collects the `count` best logits above -inf, in rank order. Candidates above the threshold gather
// in a buffer of twice the size; each time it is full the better half stays and raises the
// threshold, so most of the row is passed over sixteen at a time.
void SelectTop(std::span<const float> logits, size_t count, std::vector<Candidate>* candidates) {
  candidates->clear();
  float threshold = -kInfinity;
  const auto keep_best = [&] {
    if (candidates->size() <= count) return;
    std::nth_element(candidates->begin(), candidates->begin() + (count - 1), candidates->end(),
                     RanksBefore);
    candidates->resize(count);
    threshold = candidates->back().first;
  };
  for (size_t first = 0; first < logits.size(); first += kLanes) {
    const size_t lane_count = std::min(kLanes, logits.size() - first);
    if (lane_count == kLanes && !(MaxOfLanes(&logits[first]) > threshold)) continue;
    for (size_t i = first; i < first + lane_count; ++i) {
      // An equal logit has a higher id than all that are kept, so it ranks behind them.
      if (logits[i] > threshold) candidates->push_back({logits[i], static_cast<TokenId>(i)});
    }
    if (candidates->size() >= 2 * count + kLanes) keep_best();
  }
  keep_best();
  std::sort(candidates->begin(), candidates->end(), RanksBefore);
}

double SumOfWeights(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.first;
  return sum;
}

// Puts the best candidates in rank order until their weights reach `mass`, and drops the rest. At
// least one stays. Ranks runs that double in length: the cost follows what is kept.
void KeepNucleus(double mass, std::vector<Candidate>* candidates) {
  double sum = 0;
  const size_t count = candidates->size();
  size_t ranked = 0;
  for (size_t run = 32; ranked < count; run *= 2) {
    const size_t end = std::min(count, ranked + run);
    const auto first = candidates->begin() + ranked, last = candidates->begin() + end;
    if (end < count) std::nth_element(first, last, candidates->end(), RanksBefore);
    std::sort(first, last, RanksBefore);
    for (; ranked < end; ++ranked) {
      sum += (*candidates)[ranked].first;
      if (sum >= mass) return candidates->resize(ranked + 1);
    }
  }
}

// Applies top-p and min-p to weights whose largest is 1. Each cut keeps a leading part of the
// ranking, so their order does not matter as long as top-p counts the mass before min-p.
void CutTail(const SamplingParams& params, std::vector<Candidate>* candidates) {
  double mass = 0, lowest = params.min_p;
  if (params.top_p < 1) {
    // Weights below (1 - p) * mass / count add up to less than (1 - p) * mass: none of them is
    // needed to reach p * mass, and they need not be ranked.
    mass = SumOfWeights(*candidates);
    lowest = std::max(lowest, (1 - double{params.top_p}) * mass / double(candidates->size()));
  }
  lowest = std::min(lowest, 1.0);  // the best candidate stays
  std::erase_if(*candidates, [&](const Candidate& c) { return c.first < lowest; });
  if (params.top_p < 1) KeepNucleus(params.top_p * mass, candidates);
}

// The candidate under the point `uniform` of the line on which each takes a stretch of its weight.
TokenId Draw(std::span<const Candidate> candidates, double uniform) {
  const double point = uniform * SumOfWeights(candidates);
  double sum = 0;
  TokenId last = 0;
  for (const auto& [weight, id] : candidates) {
    sum += weight;
    if (sum > point) return id;
    if (weight > 0) last = id;
  }
  return last;  // the product above was rounded up to the whole sum
}

}  // namespace

TokenId ArgMax(std::span<const float> logits) {
  const float max_logit = MaxLogit(logits);
  if (max_logit == -kInfinity) return 0;
  const auto first = std::find(logits.begin(), logits.end(), max_logit);
  return static_cast<TokenId>(first - logits.begin());
}

void ApplyPenalties(const SamplingParams& params, std::span<const TokenId> prompt,
                    std::span<const TokenId> generated, std::span<float> logits) {
  if (params.repetition_penalty != 1) {
    std::vector<bool> seen(logits.size());
    const auto penalise = [&](TokenId token) {
      if (seen[token]) return;
      seen[token] = true;
      float& logit = logits[token];
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    };
    std::for_each(prompt.begin(), prompt.end(), penalise);
    std::for_each(generated.begin(), generated.end(), penalise);
  }
  if (params.presence_penalty != 0 || params.frequency_penalty != 0) {
    // Runs of a sorted copy are the counts, whatever the size of the vocabulary.
    std::vector<TokenId> sorted(generated.begin(), generated.end());
    std::sort(sorted.begin(), sorted.end());
    for (size_t first = 0, end = 0; first < sorted.size(); first = end) {
      while (end < sorted.size() && sorted[end] == sorted[first]) ++end;
      const float count = static_cast<float>(end - first);
      logits[sorted[first]] -= params.presence_penalty + count * params.frequency_penalty;
    }
  }
}

TokenId Sample(const SamplingParams& params, uint64_t position, std::span<const float> logits,
               std::vector<std::pair<float, TokenId>>* scratch) {
  if (!(params.temperature > 0)) return ArgMax(logits);
  const float max_logit = MaxLogit(logits);
  if (max_logit == -kInfinity) return 0;

  if (params.top_k > 0 && params.top_k < logits.size()) {
    SelectTop(logits, params.top_k, scratch);
    for (auto& [value, id] : *scratch) value = Weight(value, max_logit, params.temperature);
  } else {
    WeighRow(logits, max_logit, params.temperature, scratch);
  }
  if (params.top_p < 1 || params.min_p > 0) CutTail(params, scratch);
  return Draw(*scratch, UniformFromSeed(params.seed, position));
}

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9u;  // the golden ratio
    key[1] += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

double UniformFromSeed(uint64_t seed, uint64_t position) {
  const auto bits =
      Philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
                 {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  const uint64_t word = uint64_t{bits[0]} << 32 | bits[1];
  return static_cast<double>(word >> 11) * 0x1p-53;
}

}  // namespace kvasir
