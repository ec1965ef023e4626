// KvQuality: what a format of keys and values costs in quality. Each window of a text is read with
// keys and values in bf16, the reference, and in each format beside it, piece by piece in lockstep,
// so that the reference's logits are compared while they are there and never stored. A row reads
// all complete blocks before its own through the cache under test, as in the engine: a format is
// not measured by what it would do to values that nobody reads. One thread, which owns the model's
// pool.

#ifndef KVASIR_EVAL_KV_QUALITY_H_
#define KVASIR_EVAL_KV_QUALITY_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/eval/prediction.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"

namespace kvasir {

struct KvQualityOptions {
  // A row for each, of this model; the reference, bf16, may be among them.
  std::vector<KvBlockLayout> layouts;
  size_t context_tokens = 2048;  // of one window, at least 2; windows do not overlap
  size_t window_count_max = 4;   // at least 1
  // Of each window the scored tokens are numbers first_scored_token + 1 .. context_tokens, each
  // given all before it. 1..context_tokens - 1.
  size_t first_scored_token = 1;
  // Of each window the last so many rows are also computed token by token behind the rest, in
  // sequences of their own; 0..context_tokens - 1.
  size_t decode_tokens = 0;
  size_t chunk_tokens = 512;  // rows of one forward pass; results do not depend on it
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};

struct KvQualityRow {
  double bits_per_element = 0;  // of the blocks that are allocated, scales and padding included
  double bytes_per_token = 0;
  bool rotated = false;       // whether keys or values of a layer are
  size_t open_blocks = 1;     // KvBlockLayout::open_blocks
  PredictionQuality quality;  // of all scored tokens
  // Of the decoded tokens alone; absent when none are decoded.
  std::optional<PredictionQuality> decode;
  // Decoded tokens whose scores are those of the same rows in pieces, to the bit: all of them,
  // since a row's numbers do not depend on how it was batched.
  size_t decode_same_count = 0;
};

struct KvQualityResult {
  size_t window_count = 0;
  PredictionQuality reference;     // the bf16 run's
  std::vector<KvQualityRow> rows;  // in the order of the layouts
};

// kInvalidArgument when the text does not fill one window or an option is out of bounds;
// kResourceExhausted when the keys and values do not fit in memory.
Result<KvQualityResult> MeasureKvQuality(Model& model, ThreadPool& pool,
                                         std::span<const TokenId> tokens,
                                         const KvQualityOptions& options);

}  // namespace kvasir

#endif  // KVASIR_EVAL_KV_QUALITY_H_
