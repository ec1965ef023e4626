#include "kvasir/eval/select_quality.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/prediction.h"

namespace kvasir {

namespace {

Status CheckOptions(const Model& model, std::span<const TokenId> tokens,
                    const SelectQualityOptions& options) {
  if (options.depth_tokens == 0 || options.decode_tokens == 0 || options.window_count_max == 0) {
    return InvalidArgument("depth, decoded tokens and windows must be at least 1");
  }
  // One more: the last decoded token predicts one that is not read.
  const size_t window_tokens = options.depth_tokens + options.decode_tokens + 1;
  if (window_tokens - 1 > model.spec().context_length) {
    return InvalidArgument("depth and decoded tokens are " + std::to_string(window_tokens - 1) +
                           " tokens, this model takes " +
                           std::to_string(model.spec().context_length));
  }
  if (tokens.size() < window_tokens) {
    return InvalidArgument("the text has " + std::to_string(tokens.size()) +
                           " tokens, fewer than one window of " + std::to_string(window_tokens));
  }
  return OkStatus();
}

// Decodes what follows `context` and calls compare(i, logits) for each token.
template <typename Compare>
Status DecodeText(SequenceReader& reader, const BlockTable& context,
                  std::span<const TokenId> tokens, const DecodeReading& reading,
                  std::span<float> logits, const Compare& compare) {
  BlockTable sequence = context.Fork();
  for (size_t i = 0; i < tokens.size(); ++i) {
    KVASIR_RETURN_IF_ERROR(reader.Decode(tokens[i], reading, sequence, logits));
    compare(i, logits);
  }
  return OkStatus();
}

}  // namespace

Result<SelectQualityResult> MeasureSelectQuality(Model& model, std::span<const TokenId> tokens,
                                                 const SelectQualityOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(model, tokens, options));
  const size_t window_tokens = options.depth_tokens + options.decode_tokens + 1;
  const size_t windows = std::min(tokens.size() / window_tokens, options.window_count_max);
  const size_t vocab_size = model.spec().vocab_size;
  KVASIR_ASSIGN_OR_RETURN(const KvBlockLayout layout,
                          KvLayoutFor(model, {.kv_format = options.kv_format}));
  // A copy of the open block, and the decoded tokens beside the context.
  KVASIR_ASSIGN_OR_RETURN(
      const std::unique_ptr<SequenceReader> reader,
      SequenceReader::Create(model, layout, window_tokens + 4 * kKvBlockTokens));
  const size_t chunk_tokens = std::min(options.chunk_tokens, model.row_count_max());

  const size_t way_count = 1 + options.budgets.size();
  std::vector<std::vector<TokenScore>> scores(way_count);
  std::vector<float> logits(vocab_size);
  std::vector<float> full_logits(options.decode_tokens * vocab_size);  // [decoded, vocab_size]
  for (size_t window = 0; window < windows; ++window) {
    const auto text = tokens.subspan(window * window_tokens, window_tokens);
    const auto decoded = text.subspan(options.depth_tokens, options.decode_tokens);
    BlockTable context = reader->NewSequence();
    KVASIR_RETURN_IF_ERROR(
        reader->Read(text.first(options.depth_tokens), chunk_tokens, context, logits));
    for (size_t way = 0; way < way_count; ++way) {
      DecodeReading reading;
      reading.budget_tokens = way == 0 ? 0 : options.budgets[way - 1];
      reading.full_layer_count = options.full_layer_count;
      const auto compare = [&](size_t i, std::span<const float> row) {
        const std::span<float> full = std::span(full_logits).subspan(i * vocab_size, vocab_size);
        if (way == 0) std::copy(row.begin(), row.end(), full.begin());
        const Prediction reference = Predict(full), prediction = Predict(row);
        scores[way].push_back(
            {NegativeLogLikelihood(prediction, text[options.depth_tokens + i + 1]),
             KlDivergence(reference, prediction), reference.best == prediction.best});
      };
      KVASIR_RETURN_IF_ERROR(DecodeText(*reader, context, decoded, reading, logits, compare));
      if (options.on_progress) {
        options.on_progress(double(window * way_count + way + 1) / double(windows * way_count));
      }
    }
  }

  SelectQualityResult result;
  result.window_count = windows;
  result.token_count = windows * options.decode_tokens;
  for (size_t way = 0; way < way_count; ++way) {
    SelectQualityRow row;
    row.budget_tokens = way == 0 ? 0 : options.budgets[way - 1];
    const PredictionQuality quality = Summarize(scores[way]);
    row.mean_nll = quality.mean_nll;
    row.perplexity = quality.perplexity;
    row.top1_agreement = quality.top1;
    row.mean_kl = quality.mean_kl;
    result.rows.push_back(row);
  }
  return result;
}

}  // namespace kvasir
