#include "kvasir/eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/open_kv.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"
#include "kvasir/model/batch.h"

namespace kvasir {

namespace {

// Logits of all rows of a chunk are wanted at once: 512 rows of a vocabulary of 262,144 would be
// 512 MiB. 64 MiB leave 341 rows at 49,152 tokens and 64 at 262,144, enough for a GEMM at full
// speed.
constexpr size_t kLogitsBytesMax = size_t{64} << 20;

// Scores windows one after the other in the same blocks.
class WindowScorer {
 public:
  static Result<WindowScorer> Create(Model& model, ThreadPool& pool,
                                     const PerplexityOptions& options);

  // Writes the negative log-likelihood of token i + 1 of `window` to nll[i].
  Status Score(std::span<const TokenId> window, std::span<double> nll);

 private:
  WindowScorer(Model& model, ThreadPool& pool) : model_(model), pool_(pool) {}
  Status ScoreChunk(std::span<const TokenId> window, size_t begin, size_t count,
                    std::span<double> nll);

  Model& model_;
  ThreadPool& pool_;
  size_t chunk_tokens_ = 0;
  std::unique_ptr<BlockPool> blocks_;
  AlignedBuffer logits_;            // [chunk_tokens_, vocab_size]
  std::vector<int32_t> positions_;  // 0 .. context - 1
};

Result<WindowScorer> WindowScorer::Create(Model& model, ThreadPool& pool,
                                          const PerplexityOptions& options) {
  WindowScorer scorer(model, pool);
  const size_t row_bytes = model.spec().vocab_size * sizeof(float);
  scorer.chunk_tokens_ = std::min({options.chunk_tokens, model.row_count_max(),
                                   std::max<size_t>(1, kLogitsBytesMax / row_bytes)});
  const size_t block_count = (options.context_tokens + kKvBlockTokens - 1) / kKvBlockTokens;
  KVASIR_ASSIGN_OR_RETURN(const KvBlockLayout layout,
                          KvLayoutFor(model, {.kv_format = options.kv_format}));
  const OpenBlockCounts open = OpenBlockCounts::For(layout, scorer.chunk_tokens_, 1);
  KVASIR_ASSIGN_OR_RETURN(scorer.blocks_, BlockPool::Create(layout, block_count, open));
  KVASIR_ASSIGN_OR_RETURN(scorer.logits_,
                          AlignedBuffer::Allocate(scorer.chunk_tokens_ * row_bytes));
  scorer.positions_.resize(options.context_tokens);
  std::iota(scorer.positions_.begin(), scorer.positions_.end(), 0);
  return scorer;
}

Status WindowScorer::Score(std::span<const TokenId> window, std::span<double> nll) {
  BlockTable table(*blocks_);
  // The last token is only predicted, never read.
  const size_t rows = window.size() - 1;
  for (size_t begin = 0; begin < rows; begin += chunk_tokens_) {
    const size_t count = std::min(chunk_tokens_, rows - begin);
    KVASIR_RETURN_IF_ERROR(table.Extend(count));
    const int32_t qo_indptr[2] = {0, static_cast<int32_t>(count)};
    const int32_t kv_indptr[2] = {0, static_cast<int32_t>(table.blocks().size())};
    const int32_t last_page_len = static_cast<int32_t>(table.last_block_token_count());
    Batch batch;
    batch.tokens = window.subspan(begin, count);
    batch.positions = std::span<const int32_t>(positions_).subspan(begin, count);
    batch.qo_indptr = qo_indptr;
    batch.kv.layout = blocks_->layout();
    batch.kv.base = blocks_->base();
    batch.kv.page_count = blocks_->block_count();
    batch.kv.kv_indptr = kv_indptr;
    batch.kv.kv_indices = table.blocks();
    batch.kv.kv_last_page_len = {&last_page_len, 1};
    OwnBlocks own;
    own.Add(table, count);
    batch.kv.open = OpenKvOf(*blocks_, own);
    batch.logit_rows = std::span<const int32_t>(positions_).first(count);  // every row
    const size_t vocab_size = model_.spec().vocab_size;
    const MatrixView<float> logits(logits_.as<float>(), count, vocab_size);
    KVASIR_RETURN_IF_ERROR(model_.Forward(batch, logits));
    pool_.ParallelFor(count, [&](size_t i, size_t) {
      nll[begin + i] = NegativeLogLikelihood(logits.row_span(i), window[begin + i + 1]);
    });
  }
  return OkStatus();
}

Status CheckOptions(const Model& model, std::span<const TokenId> tokens,
                    const PerplexityOptions& options) {
  const size_t context_max = model.spec().context_length;
  if (options.context_tokens < 2 || options.context_tokens > context_max) {
    return InvalidArgument("the context is " + std::to_string(options.context_tokens) +
                           " tokens; this model takes 2 to " + std::to_string(context_max));
  }
  if (options.chunk_tokens == 0) return InvalidArgument("the chunk is 0 tokens, at least 1 needed");
  if (tokens.size() < options.context_tokens) {
    return InvalidArgument("the text has " + std::to_string(tokens.size()) +
                           " tokens, fewer than one window of " +
                           std::to_string(options.context_tokens));
  }
  const size_t vocab_size = model.spec().vocab_size;
  for (const TokenId token : tokens) {
    if (token < 0 || static_cast<size_t>(token) >= vocab_size) {
      return InvalidArgument("the text has token " + std::to_string(token) +
                             ", outside the model's vocabulary of " + std::to_string(vocab_size));
    }
  }
  return OkStatus();
}

}  // namespace

double NegativeLogLikelihood(std::span<const float> logits, TokenId token) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(token)]);
}

TokenId MostLikely(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

Result<PerplexityResult> MeasurePerplexity(Model& model, ThreadPool& pool,
                                           std::span<const TokenId> tokens,
                                           const PerplexityOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(model, tokens, options));
  size_t window_count = tokens.size() / options.context_tokens;
  if (options.window_count_max > 0) window_count = std::min(window_count, options.window_count_max);
  KVASIR_ASSIGN_OR_RETURN(WindowScorer scorer, WindowScorer::Create(model, pool, options));
  const size_t scored_per_window = options.context_tokens - 1;
  std::vector<double> nll(scored_per_window);
  double sum = 0, sum_of_squares = 0;
  for (size_t window = 0; window < window_count; ++window) {
    const auto text = tokens.subspan(window * options.context_tokens, options.context_tokens);
    KVASIR_RETURN_IF_ERROR(scorer.Score(text, nll));
    for (const double value : nll) {
      sum += value;
      sum_of_squares += value * value;
    }
    if (options.on_progress) options.on_progress(double(window + 1) / double(window_count));
  }
  PerplexityResult result;
  result.window_count = window_count;
  result.token_count = window_count * scored_per_window;
  const double n = static_cast<double>(result.token_count);
  result.mean_nll = sum / n;
  result.perplexity = std::exp(result.mean_nll);
  const double variance = std::max(0.0, sum_of_squares / n - result.mean_nll * result.mean_nll);
  result.nll_standard_error = n > 1 ? std::sqrt(variance / (n - 1)) : 0;
  return result;
}

}  // namespace kvasir
