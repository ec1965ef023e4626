// ActivationObserver: is shown what goes into the matrix products of a network's layers while a
// model runs, for methods that fit weights to activations (quantize/). A model without one does
// nothing for it; a model with one gives the same results. Owned by whoever loads the model with
// it; called on the thread that runs Forward, between the pool's jobs, so that it may use the pool.

#ifndef KVASIR_MODEL_ACTIVATION_OBSERVER_H_
#define KVASIR_MODEL_ACTIVATION_OBSERVER_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/base/matrix_view.h"

namespace kvasir {

// The inputs of a layer's products.
enum class LinearInput : uint8_t {
  kAttention,        // [rows, hidden], of q, k and v
  kAttentionOutput,  // [rows, q_heads * head_dim], of o
  kMlp,              // [rows, hidden], of gate and up
  kMlpOutput         // [rows, ffn], of down
};
inline constexpr size_t kLinearInputCount = 4;

class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;
  // The rows of one Forward, all of its tokens in every layer; valid during the call.
  virtual void Observe(LinearInput input, uint32_t layer, MatrixView<const float> rows) = 0;
};

}  // namespace kvasir

#endif  // KVASIR_MODEL_ACTIVATION_OBSERVER_H_
