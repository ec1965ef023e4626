#include "kvasir/engine/logprobs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

// -inf cannot be written as JSON, and a client compares numbers: the lowest float stands for it.
constexpr float kLowest = std::numeric_limits<float>::lowest();

bool IsPossible(float logit) { return logit > -std::numeric_limits<float>::infinity(); }

// log(sum(exp(logit - max))), 0 or more.
double LogSum(std::span<const float> logits, float max_logit) {
  double sum = 0;
  for (const float logit : logits) {
    if (IsPossible(logit)) sum += logit == max_logit ? 1 : std::exp(double(logit) - max_logit);
  }
  return std::log(sum);
}

}  // namespace

TokenLogprobs LogprobsOf(std::span<const float> logits, TokenId token, size_t top_count) {
  KVASIR_CHECK(token >= 0 && size_t(token) < logits.size());
  const float max_logit = logits[size_t(ArgMax(logits))];
  const double log_sum = IsPossible(max_logit) ? LogSum(logits, max_logit) : 0;
  const auto logprob = [&](TokenId id) {
    const float logit = logits[size_t(id)];
    // The difference of equal infinities is no number.
    const double behind = logit == max_logit ? 0 : double(logit) - max_logit;
    return IsPossible(logit) ? std::max(kLowest, float(behind - log_sum)) : kLowest;
  };
  TokenLogprobs result{.logprob = logprob(token)};
  if (top_count == 0) return result;

  std::vector<TokenId> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = TokenId(i);
  top_count = std::min(top_count, ids.size());
  const auto likelier = [&](TokenId a, TokenId b) {
    const float logit_a = IsPossible(logits[size_t(a)]) ? logits[size_t(a)] : kLowest;
    const float logit_b = IsPossible(logits[size_t(b)]) ? logits[size_t(b)] : kLowest;
    return logit_a != logit_b ? logit_a > logit_b : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + ptrdiff_t(top_count), ids.end(), likelier);
  for (size_t i = 0; i < top_count; ++i) result.top.push_back({ids[i], logprob(ids[i])});
  return result;
}

}  // namespace kvasir
