// Model: the network: a batch in, logits out, keys and values appended to the batch's pages. An
// interface, so that the engine can be tested without weights; LoadModel gives the real one. One
// Forward at a time.

#ifndef KVASIR_MODEL_MODEL_H_
#define KVASIR_MODEL_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/model/activation_observer.h"
#include "kvasir/model/batch.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

// How activations meet quantised weights: int8 per row and 32-wide group (fast), or f32 (exact: the
// weights' own values).
enum class ActivationPrecision : uint8_t { kInt8, kF32 };

class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelSpec& spec() const = 0;
  // Bytes of weights in memory, in the form that the kernels read.
  virtual size_t weight_bytes() const = 0;
  // Bytes of activations that a Forward of `row_count` rows needs, for the memory plan.
  virtual size_t ActivationBytes(size_t row_count, size_t logit_row_count) const = 0;

  // The most rows that one Forward accepts.
  virtual size_t row_count_max() const = 0;

  // The block layout of this model's keys and values in `formats`, the same in all layers.
  virtual KvBlockLayout KvLayout(KvFormats formats) const = 0;

  // Runs `batch` and writes logits [batch.logit_rows.size(), vocab_size]. kInvalidArgument for a
  // token id or position out of range or a batch that does not fit together; nothing is computed
  // then.
  virtual Status Forward(const Batch& batch, MatrixView<float> logits) = 0;
};

struct LoadOptions {
  ActivationPrecision activations = ActivationPrecision::kInt8;
  size_t row_count_max = 512;  // rows of the largest batch: sizes the activation buffers
  // Reads KV blocks that several sequences of a batch share once for all of them, where the costs
  // of this machine say that it pays. Changes no result.
  bool cascade = true;
  // Sees the inputs of all matrix products of the layers; must outlive the model. Changes no
  // result.
  ActivationObserver* observer = nullptr;
  // Called from the loading thread with the share of the weights that is ready, 0..1; may be empty.
  std::function<void(double)> on_progress;
};

// Packs the weights of `checkpoint` for the kernels in force. The checkpoint may be destroyed
// afterwards. `pool` must outlive the model. kResourceExhausted when the weights do not fit in
// memory.
Result<std::unique_ptr<Model>> LoadModel(const Checkpoint& checkpoint, const LoadOptions& options,
                                         ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_MODEL_MODEL_H_
