// QuantizeCheckpoint: a checkpoint's network as a GGUF file with fewer bits: rounded to the nearest
// code, or fitted to the activations of a calibration text by scaling (scale_search.h), error
// feedback (error_feedback.h) or both. The file holds tokenizer, template and hyperparameters, and
// opens with our own reader and with llama.cpp. It appears under its name only when it is complete;
// its bytes do not depend on the thread count (calibrated ones depend on the numerics class of the
// CPU, as activations do). The calling thread owns the pool.
//
// Quantisation-aware training makes other weights, not another file: a LayerFit (layer_fit.h) with
// other values is all that it has to give.

#ifndef KVASIR_QUANTIZE_QUANTIZE_CHECKPOINT_H_
#define KVASIR_QUANTIZE_QUANTIZE_CHECKPOINT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {

struct QuantizeOptions {
  DType type = DType::kQ4_0;                     // Q8_0, Q4_0 or Q4_K
  bool scale_channels = false;                   // AWQ
  bool feed_back_errors = false;                 // GPTQ
  std::vector<TokenId> calibration_tokens = {};  // of a text like those the model will read
  bool from_quantized = false;                   // accept a source that has lost bits already
  bool replace = false;                          // an existing file
  // Called with what is going on and the share of it that is done, 0..1; may be empty.
  std::function<void(std::string_view phase, double share)> on_progress = nullptr;

  bool calibrates() const { return scale_channels || feed_back_errors; }
};

struct QuantizeReport {
  struct TypeShare {
    size_t tensor_count = 0;
    uint64_t number_count = 0;
    uint64_t byte_count = 0;
  };
  std::map<DType, TypeShare> types;
  // "Q5_0 instead of Q4_K for 210 matrices whose rows have 576 numbers".
  std::vector<std::string> fallbacks;
  uint64_t file_bytes = 0;
  uint64_t number_count = 0;
  // With calibration: sum of squares of what the matrices' outputs lost, over the sum of squares of
  // the outputs, the mean over all matrices; plainly rounded and as written.
  double plain_output_error = 0;
  double output_error = 0;
  size_t calibration_token_count = 0;

  // Of the weights, without metadata.
  double bits_per_weight() const;
};

// kInvalidArgument when the source is quantised already and options do not say so, when the numbers
// do not fit the types, or when the file exists; kUnimplemented when GGUF cannot say what the
// network or its tokenizer is; kResourceExhausted when memory or disk do not suffice; kIoError.
Result<QuantizeReport> QuantizeCheckpoint(const Checkpoint& checkpoint,
                                          const QuantizeOptions& options, const std::string& path,
                                          ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_QUANTIZE_CHECKPOINT_H_
