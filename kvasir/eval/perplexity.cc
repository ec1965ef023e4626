#include "kvasir/eval/perplexity.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/prediction.h"
#include "kvasir/eval/sequence_reader.h"

namespace kvasir {

namespace {

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
  return CheckTokens(model, tokens);
}

}  // namespace

Result<PerplexityResult> MeasurePerplexity(Model& model, ThreadPool& pool,
                                           std::span<const TokenId> tokens,
                                           const PerplexityOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(model, tokens, options));
  size_t window_count = tokens.size() / options.context_tokens;
  if (options.window_count_max > 0) window_count = std::min(window_count, options.window_count_max);
  KVASIR_ASSIGN_OR_RETURN(const KvBlockLayout layout,
                          KvLayoutFor(model, {.kv_format = options.kv_format,
                                              .kv_layers = options.kv_layers,
                                              .kv_rotation = options.kv_rotation,
                                              .kv_open_blocks = options.kv_open_blocks}));
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<SequenceReader> reader,
                          SequenceReader::Create(model, layout, options.context_tokens));
  KVASIR_ASSIGN_OR_RETURN(const LogitRows logits, LogitRows::Create(model, options.chunk_tokens));
  std::vector<TokenScore> scores(window_count * (options.context_tokens - 1));
  for (size_t window = 0; window < window_count; ++window) {
    const auto text = tokens.subspan(window * options.context_tokens, options.context_tokens);
    const auto scored = std::span(scores).subspan(window * (text.size() - 1), text.size() - 1);
    BlockTable sequence = reader->NewSequence();
    // The last token is only predicted, never read.
    KVASIR_RETURN_IF_ERROR(reader->ReadAll(text.first(text.size() - 1), sequence, logits.view(),
                                           [&](size_t first, MatrixView<float> rows) {
                                             pool.ParallelFor(rows.rows(), [&](size_t i, size_t) {
                                               scored[first + i].nll = NegativeLogLikelihood(
                                                   rows.row_span(i), text[first + i + 1]);
                                             });
                                           }));
    if (options.on_progress) options.on_progress(double(window + 1) / double(window_count));
  }
  const PredictionQuality quality = Summarize(scores);
  return PerplexityResult{quality.perplexity, quality.mean_nll, quality.nll_standard_error,
                          quality.token_count, window_count};
}

}  // namespace kvasir
