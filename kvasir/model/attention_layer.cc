// The attention block of a layer.

#include "kvasir/attention/append.h"
#include "kvasir/attention/seal.h"
#include "kvasir/kernels/elementwise.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/kernels/hadamard.h"
#include "kvasir/kernels/rope.h"
#include "kvasir/model/layer_context.h"

namespace kvasir {

namespace {

const float* DataOrNull(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

// Normalises each head of one row (Qwen3, Gemma 3), then turns it to its position.
void NormAndRotateHeads(const LayerContext& context, const std::vector<float>& norm,
                        const RopeSpec& rope, const float* angles, uint32_t head_count,
                        float* heads) {
  const uint32_t head_dim = context.spec.head_dim;
  if (!norm.empty()) {
    for (uint32_t h = 0; h < head_count; ++h) {
      float* head = heads + size_t{h} * head_dim;
      RmsNorm({head, head_dim}, norm.data(), context.spec.rms_norm_eps, head);
    }
  }
  const size_t half_dim = rope.rotary_dim / 2;
  RopeRow(angles, angles + half_dim, half_dim, head_count, head_dim, heads);
}

}  // namespace

void AttendLayer(const LayerContext& context, const LayerWeights& weights, uint32_t layer) {
  const ModelSpec& spec = context.spec;
  Activations& buffers = context.activations;
  const size_t rows = context.batch.tokens.size();
  const MatrixView<float> hidden = buffers.hidden(rows), normed = buffers.normed(rows);
  const MatrixView<float> q = buffers.q(rows);  // [rows, q_heads * head_dim]
  const MatrixView<float> k = buffers.k(rows);  // [rows, kv_heads * head_dim]
  const MatrixView<float> v = buffers.v(rows);  // [rows, kv_heads * head_dim]

  const GemmInput input =
      buffers.Prepare(normed, {&weights.q, &weights.k, &weights.v}, context.pool, [&](size_t r) {
        RmsNorm(hidden.row_span(r), weights.attn_norm.data(), spec.rms_norm_eps, normed.row(r));
      });
  context.Observe(LinearInput::kAttention, layer, normed);
  const GemmOutput products[] = {{&weights.q, q, DataOrNull(weights.q_bias)},
                                 {&weights.k, k, DataOrNull(weights.k_bias)},
                                 {&weights.v, v, DataOrNull(weights.v_bias)}};
  Gemm(input, products, buffers.gemm_scratch(), context.pool);

  const KvBlockLayout& layout = context.batch.kv.layout;
  const bool sliding = spec.IsSliding(layer);
  const RopeSpec& rope = sliding ? spec.sliding_rope : spec.rope;
  const MatrixView<float> angles = buffers.angles(sliding, rows);
  ForEachRow(rows, context.pool, [&](size_t r) {
    NormAndRotateHeads(context, weights.q_norm, rope, angles.row(r), spec.q_head_count, q.row(r));
    NormAndRotateHeads(context, weights.k_norm, rope, angles.row(r), spec.kv_head_count, k.row(r));
    if (layout.RotatesKeys(layer)) {
      HadamardHeads(spec.q_head_count, spec.head_dim, q.row(r));
      HadamardHeads(spec.kv_head_count, spec.head_dim, k.row(r));
    }
    if (layout.RotatesValues(layer)) HadamardHeads(spec.kv_head_count, spec.head_dim, v.row(r));
  });

  AppendPagedKv(context.batch.kv, layer, context.batch.qo_indptr, k, v, context.pool);
  SealPagedKv(context.batch.kv, layer, context.batch.qo_indptr, context.pool);
  const BatchBlockSelect& select = context.batch.block_select;
  if (context.selection != nullptr && !sliding && layer >= select.full_layer_count) {
    context.selection->Select(*select.summaries, layer, q, context.pool);
    context.selected_plan.Run(context.selection->kv(), layer, q, buffers.attended(rows),
                              context.pool);
    return;
  }
  const BatchAttentionPlan& plan = sliding ? context.sliding_plan : context.plan;
  plan.Run(context.batch.kv, layer, q, buffers.attended(rows), context.pool);
}

void ProjectAttended(const LayerContext& context, const LayerWeights& weights, uint32_t layer,
                     size_t rows) {
  const ModelSpec& spec = context.spec;
  Activations& buffers = context.activations;
  const MatrixView<float> hidden = buffers.hidden(rows);
  const MatrixView<float> attended = buffers.attended(rows);  // [rows, q_heads * head_dim]
  const bool rotated = context.batch.kv.layout.RotatesValues(layer);
  const GemmInput input = buffers.Prepare(attended, {&weights.o}, context.pool, [&](size_t r) {
    // The mix of rotated values, back.
    if (rotated) HadamardHeads(spec.q_head_count, spec.head_dim, attended.row(r));
  });
  context.Observe(LinearInput::kAttentionOutput, layer, attended);
  const bool post_norm = !weights.attn_post_norm.empty();
  const MatrixView<float> branch = buffers.branch(rows);
  const GemmOutput product{&weights.o, post_norm ? branch : hidden, DataOrNull(weights.o_bias),
                           /*accumulate=*/!post_norm};
  Gemm(input, {&product, 1}, buffers.gemm_scratch(), context.pool);
  if (!post_norm) return;
  ForEachRow(rows, context.pool, [&](size_t r) {
    AddRmsNorm(branch.row_span(r), weights.attn_post_norm.data(), spec.rms_norm_eps, hidden.row(r));
  });
}

}  // namespace kvasir
