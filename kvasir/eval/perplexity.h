// Perplexity: how well a model predicts a text: exp of the mean negative log-likelihood of its
// tokens. The text is cut into windows of `context_tokens` tokens without overlap; nothing is put
// in front; tokens 2..N of each window are scored, each given all before it in the window; a last
// partial window is dropped. One thread, which owns the model's pool.

#ifndef KVASIR_EVAL_PERPLEXITY_H_
#define KVASIR_EVAL_PERPLEXITY_H_

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"

namespace kvasir {

struct PerplexityOptions {
  size_t context_tokens = 512;  // of one window, at least 2
  size_t window_count_max = 0;  // 0 = all
  size_t chunk_tokens = 512;    // rows of one forward pass; results do not depend on it
  KvFormats kv_format = KvFormat::kBF16;
  std::vector<KvFormats> kv_layers = {};  // of each layer, in place of kv_format
  bool kv_rotation = true;                // as in EngineOptions, like the next one
  size_t kv_open_blocks = 1;
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};

struct PerplexityResult {
  double perplexity = 0;
  double mean_nll = 0;            // natural logarithms
  double nll_standard_error = 0;  // of the mean, as if tokens were independent
  size_t token_count = 0;         // scored
  size_t window_count = 0;
};

// kInvalidArgument when `tokens` do not fill one window or an option is out of bounds;
// kResourceExhausted when one window's keys and values do not fit in memory.
Result<PerplexityResult> MeasurePerplexity(Model& model, ThreadPool& pool,
                                           std::span<const TokenId> tokens,
                                           const PerplexityOptions& options);

}  // namespace kvasir

#endif  // KVASIR_EVAL_PERPLEXITY_H_
