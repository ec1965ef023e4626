#include "kvasir/eval/prediction.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

struct MeanAndError {
  double mean = 0;
  double standard_error = 0;
};

template <typename Value>
MeanAndError MeanOf(std::span<const TokenScore> scores, const Value& value) {
  double sum = 0, sum_of_squares = 0;
  for (const TokenScore& score : scores) {
    sum += value(score);
    sum_of_squares += value(score) * value(score);
  }
  const double n = double(scores.size());
  MeanAndError result;
  result.mean = sum / n;
  const double variance = std::max(0.0, sum_of_squares / n - result.mean * result.mean);
  result.standard_error = n > 1 ? std::sqrt(variance / (n - 1)) : 0;
  return result;
}

}  // namespace

Prediction Predict(std::span<const float> logits) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double(logit) - double(*largest));
  return {logits, double(*largest) + std::log(sum), static_cast<TokenId>(largest - logits.begin())};
}

double NegativeLogLikelihood(const Prediction& prediction, TokenId token) {
  return prediction.log_sum - double(prediction.logits[static_cast<size_t>(token)]);
}

double KlDivergence(const Prediction& p, const Prediction& q) {
  KVASIR_CHECK(p.logits.size() == q.logits.size());
  double kl = 0;
  for (size_t i = 0; i < p.logits.size(); ++i) {
    const double log_p = double(p.logits[i]) - p.log_sum, log_q = double(q.logits[i]) - q.log_sum;
    if (const double share = std::exp(log_p); share > 0) kl += share * (log_p - log_q);
  }
  return kl;
}

TokenId MostLikely(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

PredictionQuality Summarize(std::span<const TokenScore> scores) {
  KVASIR_CHECK(!scores.empty());
  PredictionQuality quality;
  quality.token_count = scores.size();
  const MeanAndError nll = MeanOf(scores, [](const TokenScore& score) { return score.nll; });
  quality.mean_nll = nll.mean;
  quality.nll_standard_error = nll.standard_error;
  quality.perplexity = std::exp(nll.mean);
  const MeanAndError kl = MeanOf(scores, [](const TokenScore& score) { return score.kl; });
  quality.mean_kl = kl.mean;
  quality.kl_standard_error = kl.standard_error;
  quality.top1 =
      MeanOf(scores, [](const TokenScore& score) { return double(score.is_agreed); }).mean;
  std::vector<double> kls;
  kls.reserve(scores.size());
  for (const TokenScore& score : scores) kls.push_back(score.kl);
  quality.p999_kl = Percentile(kls, 0.999);
  quality.max_kl = *std::max_element(kls.begin(), kls.end());
  return quality;
}

double Percentile(std::span<const double> values, double share) {
  KVASIR_CHECK(!values.empty() && share > 0 && share <= 1);
  std::vector<double> sorted(values.begin(), values.end());
  // 1e-9: 0.999 * 1000 is 999.0000000000001 in binary, and means rank 999.
  const size_t rank = static_cast<size_t>(std::ceil(share * double(sorted.size()) - 1e-9));
  const auto at = sorted.begin() + ptrdiff_t(std::max<size_t>(rank, 1) - 1);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

}  // namespace kvasir
