// Sampling over batches, for users of the library: rows of logits or probabilities -> tokens, with
// FlashInfer's names and meanings (top_k_top_p_sampling_from_probs and its relatives), and the
// renormalisations and masks that go with them.
//
//   ThreadPool pool(4);
//   SamplingWorkspace workspace(pool);
//   std::vector<TokenId> samples(logits.rows());
//   Status status = TopKTopPSamplingFromLogits(logits, 50, 0.9f, FilterApplyOrder::kTopKFirst,
//                                              {.seed = seeds, .position = positions}, samples,
//                                              workspace);
//
// Where it differs from FlashInfer: a draw is a function of the row, its parameters and its own
// seed and position, so it does not depend on the slot or the batch; top-k keeps exactly k, the
// lowest ids among equals, so that top_k = 1 is the argmax; and every instruction set and number of
// threads gives the same tokens. NaN never counts. A row in which nothing has any weight (all -inf,
// all 0, all NaN) gives token 0 and probabilities of 0.
//
// Free functions. The workspace owns scratch memory and borrows a thread pool: one call at a time
// on a workspace, from the thread that owns its pool.

#ifndef KVASIR_KERNELS_BATCH_SAMPLING_H_
#define KVASIR_KERNELS_BATCH_SAMPLING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/sample_row.h"

namespace kvasir {

// A parameter: one value for the whole batch, or one for each output row, borrowed for the call.
template <typename T>
class PerRow {
 public:
  PerRow(T value) : value_(value) {}                                // NOLINT: f(probs, 0.9f)
  PerRow(std::span<const T> rows) : rows_(rows), is_each_(true) {}  // NOLINT: f(probs, top_ps)
  PerRow(std::span<T> rows) : PerRow(std::span<const T>(rows)) {}   // NOLINT
  PerRow(const std::vector<T>& rows) : PerRow(std::span<const T>(rows)) {}  // NOLINT

  T operator[](size_t row) const { return is_each_ ? rows_[row] : value_; }
  bool is_each() const { return is_each_; }
  size_t size() const { return is_each_ ? rows_.size() : 1; }

 private:
  T value_ = {};
  std::span<const T> rows_;
  bool is_each_ = false;
};

class SamplingWorkspace {
 public:
  // `pool` outlives the workspace.
  explicit SamplingWorkspace(ThreadPool& pool) : pool_(pool), scratch_(pool.thread_count()) {}

  ThreadPool& pool() { return pool_; }
  SamplingScratch& scratch(size_t worker) { return scratch_[worker]; }

 private:
  ThreadPool& pool_;
  std::vector<SamplingScratch> scratch_;
};

// The rows of the output.
struct SamplingRows {
  PerRow<uint64_t> seed = 0;      // of the request
  PerRow<uint64_t> position = 0;  // in the request's sequence, of the token that is drawn
  // Row i draws from row indices[i] of the input; empty: from row i.
  std::span<const int32_t> indices = {};
};

// In all functions: probs and logits are [rows, vocab_size], vocab_size from 1 to
// kVocabSizeMax; the probabilities of a row need not add up to 1. samples is [batch], the number of
// indices, or of rows where there are no indices. The parameters and their ranges:
//
//   temperature  0 (greedy) to 1000
//   top_k        0 (off) and above
//   top_p        0 (the best token alone) to 1 (off)
//   min_p        0 (off) to 1 (the best token and its equals)
//
// kInvalidArgument names the argument, what was found and what is allowed; then nothing is written.
inline constexpr size_t kVocabSizeMax = size_t{1} << 30;

// Draws from each row as it is.
Status SamplingFromProbs(MatrixView<const float> probs, const SamplingRows& rows,
                         std::span<TokenId> samples, SamplingWorkspace& workspace);
// Draws from softmax(logits).
Status SamplingFromLogits(MatrixView<const float> logits, const SamplingRows& rows,
                          std::span<TokenId> samples, SamplingWorkspace& workspace);

// Draws from the shortest leading part of the ranking that reaches top_p of the row's sum.
Status TopPSamplingFromProbs(MatrixView<const float> probs, const PerRow<float>& top_p,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace);
// Draws from the top_k best.
Status TopKSamplingFromProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace);
// Draws from what has at least min_p times the best probability.
Status MinPSamplingFromProbs(MatrixView<const float> probs, const PerRow<float>& min_p,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace);

// Draws from what both filters leave, in the order that `filter_apply_order` says.
Status TopKTopPSamplingFromProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                                 const PerRow<float>& top_p, FilterApplyOrder filter_apply_order,
                                 const SamplingRows& rows, std::span<TokenId> samples,
                                 SamplingWorkspace& workspace);
// Likewise from softmax(logits); with kTopKFirst the softmax is only that of the top_k best.
Status TopKTopPSamplingFromLogits(MatrixView<const float> logits, const PerRow<int32_t>& top_k,
                                  const PerRow<float>& top_p, FilterApplyOrder filter_apply_order,
                                  const SamplingRows& rows, std::span<TokenId> samples,
                                  SamplingWorkspace& workspace);

// Every filter at once.
struct BatchFilter {
  RowKind kind = RowKind::kLogits;
  PerRow<float> temperature = 1;  // of logits
  PerRow<int32_t> top_k = 0;
  PerRow<float> top_p = 1;
  PerRow<float> min_p = 0;
  FilterApplyOrder filter_apply_order = FilterApplyOrder::kTopKFirst;
};
Status FilteredSampling(MatrixView<const float> logits_or_probs, const BatchFilter& filter,
                        const SamplingRows& rows, std::span<TokenId> samples,
                        SamplingWorkspace& workspace);
// The probabilities from which FilteredSampling draws. Here and below `out` has the shape of the
// input and may be the input.
Status FilteredProbs(MatrixView<const float> logits_or_probs, const BatchFilter& filter,
                     MatrixView<float> out, SamplingWorkspace& workspace);

// softmax(logits / temperature); temperature 0 puts 1 on the argmax.
Status Softmax(MatrixView<const float> logits, const PerRow<float>& temperature,
               MatrixView<float> out, SamplingWorkspace& workspace);
// What TopPSamplingFromProbs draws from: rows of sum 1, with 0 for what is cut.
Status TopPRenormProbs(MatrixView<const float> probs, const PerRow<float>& top_p,
                       MatrixView<float> out, SamplingWorkspace& workspace);
// What TopKSamplingFromProbs draws from.
Status TopKRenormProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                       MatrixView<float> out, SamplingWorkspace& workspace);
// The top_k best logits as they are, -inf for the others.
Status TopKMaskLogits(MatrixView<const float> logits, const PerRow<int32_t>& top_k,
                      MatrixView<float> out, SamplingWorkspace& workspace);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_BATCH_SAMPLING_H_
