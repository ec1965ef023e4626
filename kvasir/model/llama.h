// LlamaModel: the decoder that every family of ModelSpec is: embed -> N x (attention, MLP) -> norm
// -> logits. The families differ by switches of the spec. Owned by whoever loaded it; one Forward
// at a time.

#ifndef KVASIR_MODEL_LLAMA_H_
#define KVASIR_MODEL_LLAMA_H_

#include <memory>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/model/activations.h"
#include "kvasir/model/layer_weights.h"
#include "kvasir/model/model.h"

namespace kvasir {

class LlamaModel final : public Model {
 public:
  // `pool` must outlive the model.
  LlamaModel(ModelSpec spec, NetworkWeights weights, Activations activations,
             const LoadOptions& options, ThreadPool& pool);

  const ModelSpec& spec() const override { return spec_; }
  size_t weight_bytes() const override { return weights_.byte_count; }
  size_t ActivationBytes(size_t row_count, size_t logit_row_count) const override;
  size_t row_count_max() const override { return row_count_max_; }
  KvBlockLayout KvLayout(KvFormats formats) const override;
  Status Forward(const Batch& batch, MatrixView<float> logits) override;

 private:
  Status Validate(const Batch& batch, MatrixView<float> logits) const;
  Status PlanAttention(const Batch& batch);
  // Finds out which rows select pages and plans for them. REQUIRES that PlanAttention accepted the
  // batch with `attention` and `options`.
  Status PlanBlockSelection(const Batch& batch, const AttentionSpec& attention,
                            const AttentionPlanOptions& options);
  void Embed(const Batch& batch);
  void ComputeAngles(const Batch& batch);
  void KeepRows(std::span<const int32_t> rows);
  void ComputeLogits(size_t rows, MatrixView<float> logits);

  ModelSpec spec_;
  NetworkWeights weights_;
  Activations activations_;
  size_t row_count_max_;
  bool cascade_;
  ActivationObserver* observer_;
  ThreadPool& pool_;
  BatchAttentionPlan plan_;
  BatchAttentionPlan sliding_plan_;
  BlockSelection selection_;
  BatchAttentionPlan selected_plan_;
};

}  // namespace kvasir

#endif  // KVASIR_MODEL_LLAMA_H_
