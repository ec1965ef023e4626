// SelectQuality: what block selection (attention/block_select.h) costs in quality. The first
// `depth_tokens` tokens of each window of a text are read in full; the next `decode_tokens` are
// decoded one by one, each given the text's own tokens, once reading everything and once for each
// budget, from the same keys and values. The distributions of the next token are compared. One
// thread, which owns the model's pool.

#ifndef KVASIR_EVAL_SELECT_QUALITY_H_
#define KVASIR_EVAL_SELECT_QUALITY_H_

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"

namespace kvasir {

struct SelectQualityOptions {
  size_t depth_tokens = 2048;
  size_t decode_tokens = 128;   // of each window, at least 1
  size_t window_count_max = 1;  // windows do not overlap
  std::vector<size_t> budgets;  // in tokens, each a multiple of 32 from 128 on
  uint32_t full_layer_count = BatchBlockSelect().full_layer_count;
  size_t chunk_tokens = 512;
  KvFormats kv_format = KvFormat::kBF16;
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};

struct SelectQualityRow {
  size_t budget_tokens = 0;  // 0 = everything
  double mean_nll = 0;       // of the text's tokens, natural logarithms
  double perplexity = 0;
  double top1_agreement = 1;  // share of tokens with the same most likely successor as in full
  double mean_kl = 0;         // of the distribution in full from this one, natural logarithms
};

struct SelectQualityResult {
  size_t window_count = 0;
  size_t token_count = 0;              // compared
  std::vector<SelectQualityRow> rows;  // everything first, then the budgets in their order
};

// kInvalidArgument when the text does not fill one window, or an option is out of bounds;
// kResourceExhausted when the keys and values do not fit in memory.
Result<SelectQualityResult> MeasureSelectQuality(Model& model, std::span<const TokenId> tokens,
                                                 const SelectQualityOptions& options);

}  // namespace kvasir

#endif  // KVASIR_EVAL_SELECT_QUALITY_H_
