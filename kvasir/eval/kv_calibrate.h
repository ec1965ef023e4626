// KvCalibrate: finds a map of formats for one model: what each tensor (a layer's keys, or its
// values) in each format costs when all others are bf16, the map with the smallest sum within the
// budget, and better neighbours of it by measured divergence. One thread, which owns the model's
// pool.

#ifndef KVASIR_EVAL_KV_CALIBRATE_H_
#define KVASIR_EVAL_KV_CALIBRATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/eval/prediction.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"

namespace kvasir {

struct KvCalibrateOptions {
  double budget_bits = 5;  // per key or value, padding included
  std::vector<KvFormat> formats = {KvFormat::kInt4, KvFormat::kInt8};  // to choose from
  size_t window_tokens = 512;
  size_t window_count = 4;
  // Of each window; the rows before them have little in encoded blocks to read.
  size_t scored_tokens = 256;
  size_t refine_count = 12;  // maps measured beyond the first
  size_t chunk_tokens = 512;
  // Called with the share of the work that is done, 0..1; may be empty.
  std::function<void(double)> on_progress = nullptr;
};

// One tensor in one format, everything else in bf16.
struct KvTensorCost {
  uint32_t layer = 0;
  KvSide side = KvSide::kKey;
  KvFormat format = KvFormat::kBF16;
  size_t bytes = 0;  // of a block
  double mean_kl = 0;
  double perplexity = 0;
};

// Keys or values of one KV head of one layer, over the windows' complete blocks, as they are
// cached: keys after RoPE.
struct KvHeadStatistics {
  uint32_t layer = 0;
  uint32_t kv_head = 0;
  KvSide side = KvSide::kKey;
  double absmax = 0;
  double rms = 0;
  // Share of the energy that lies in the channels' means, 0..1: near 1 where a bias outweighs what
  // tokens say, which a per-token scale pays for.
  double mean_share = 0;
  double max_channel_rms = 0;  // of the largest channel; rms for even ones
};

struct KvCalibrateResult {
  std::vector<KvFormats> layers;  // the map
  double bits_per_element = 0;
  double added_kl = 0;         // the sum of the tensors' own
  double start_kl = 0;         // measured, before the refinement
  size_t refined_count = 0;    // maps measured in it
  PredictionQuality measured;  // of the map
  PredictionQuality reference;
  size_t window_count = 0;
  std::vector<KvTensorCost> costs;  // by layer, side, format
  std::vector<KvHeadStatistics> statistics;
};

// kInvalidArgument when the text does not fill the windows or no map is within the budget;
// otherwise what MeasureKvQuality says.
Result<KvCalibrateResult> CalibrateKv(Model& model, ThreadPool& pool,
                                      std::span<const TokenId> tokens,
                                      const KvCalibrateOptions& options);

// Of one window of `tokens` read with bf16 keys and values.
Result<std::vector<KvHeadStatistics>> MeasureKvStatistics(Model& model,
                                                          std::span<const TokenId> tokens,
                                                          size_t chunk_tokens);

}  // namespace kvasir

#endif  // KVASIR_EVAL_KV_CALIBRATE_H_
