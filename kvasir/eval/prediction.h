// Prediction: what a row of logits says of the next token, and how two rows that predict the same
// token differ: the measures of every evaluation here, in double precision and natural logarithms.
// Pure functions, any thread.

#ifndef KVASIR_EVAL_PREDICTION_H_
#define KVASIR_EVAL_PREDICTION_H_

#include <cstddef>
#include <span>

#include "kvasir/formats/token_id.h"

namespace kvasir {

// A row of logits with what every measure needs of it, computed once. Valid as long as the row.
struct Prediction {
  std::span<const float> logits;  // [vocab_size]
  double log_sum = 0;             // log of the sum of exp(logit)
  TokenId best = 0;               // the largest logit, the first of equal ones
};
// REQUIRES a logit.
Prediction Predict(std::span<const float> logits);

// -log softmax(logits)[token]. REQUIRES a token inside logits.
double NegativeLogLikelihood(const Prediction& prediction, TokenId token);
inline double NegativeLogLikelihood(std::span<const float> logits, TokenId token) {
  return NegativeLogLikelihood(Predict(logits), token);
}
// sum p log(p / q) of the two softmax distributions. REQUIRES the same vocabulary.
double KlDivergence(const Prediction& p, const Prediction& q);
inline double KlDivergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  return KlDivergence(Predict(p_logits), Predict(q_logits));
}
// The token with the largest logit, the first of equal ones. REQUIRES a logit.
TokenId MostLikely(std::span<const float> logits);

// How one token of a text was predicted, beside a reference that predicted the same one.
struct TokenScore {
  double nll = 0;
  double kl = 0;          // of the reference from this prediction; 0 for the reference itself
  bool is_agreed = true;  // both have the same most likely token
  bool operator==(const TokenScore&) const = default;
};

// The scores of many tokens in a few numbers.
struct PredictionQuality {
  size_t token_count = 0;
  double mean_nll = 0;
  double nll_standard_error = 0;  // of the mean, as if tokens were independent
  double perplexity = 0;          // exp(mean_nll)
  double mean_kl = 0;
  double kl_standard_error = 0;  // of the mean, as if tokens were independent
  double p999_kl = 0;            // Percentile(0.999)
  double max_kl = 0;
  double top1 = 1;  // share of tokens that are agreed
};
// REQUIRES a score.
PredictionQuality Summarize(std::span<const TokenScore> scores);

// The smallest of `values` that at least `share` of them do not exceed (nearest rank). REQUIRES a
// value and 0 < share <= 1.
double Percentile(std::span<const double> values, double share);

}  // namespace kvasir

#endif  // KVASIR_EVAL_PREDICTION_H_
