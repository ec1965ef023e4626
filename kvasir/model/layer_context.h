// LayerContext: what every layer of one Forward shares: the batch, its attention plans, the buffers
// and the threads. Lives on the stack of Forward.

#ifndef KVASIR_MODEL_LAYER_CONTEXT_H_
#define KVASIR_MODEL_LAYER_CONTEXT_H_

#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/model/activation_observer.h"
#include "kvasir/model/activations.h"
#include "kvasir/model/batch.h"
#include "kvasir/model/layer_weights.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

struct LayerContext {
  const ModelSpec& spec;
  const Batch& batch;
  const BatchAttentionPlan& plan;          // of layers that see everything
  const BatchAttentionPlan& sliding_plan;  // of sliding-window layers
  // Of layers that see everything, but for the first ones, when some rows select their pages; else
  // null.
  BlockSelection* selection;
  const BatchAttentionPlan& selected_plan;
  Activations& activations;
  ThreadPool& pool;
  ActivationObserver* observer;  // or null

  void Observe(LinearInput input, uint32_t layer, MatrixView<const float> rows) const {
    if (observer != nullptr) observer->Observe(input, layer, rows);
  }
};

// The attention block of layer `layer`, first half: norm -> q, k, v -> RoPE -> rotate where
// keys and values are quantised -> append -> attend.
// Reads `hidden`, leaves the heads' outputs in activations.attended(rows).
void AttendLayer(const LayerContext& context, const LayerWeights& weights, uint32_t layer);

// Second half: hidden += o(attended). `rows` may be fewer than the batch: rows that go no further
// have been dropped from `attended` and `hidden`.
void ProjectAttended(const LayerContext& context, const LayerWeights& weights, uint32_t layer,
                     size_t rows);

// The MLP block: hidden += down(act(gate(norm)) * up(norm)), over the first `rows` rows.
void RunMlpLayer(const LayerContext& context, const LayerWeights& weights, uint32_t layer,
                 size_t rows);

}  // namespace kvasir

#endif  // KVASIR_MODEL_LAYER_CONTEXT_H_
