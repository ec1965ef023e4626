// The MLP block of a layer.

#include "kvasir/kernels/elementwise.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/model/layer_context.h"

namespace kvasir {

void RunMlpLayer(const LayerContext& context, const LayerWeights& weights, uint32_t layer,
                 size_t rows) {
  const ModelSpec& spec = context.spec;
  Activations& buffers = context.activations;
  const MatrixView<float> hidden = buffers.hidden(rows), normed = buffers.normed(rows);
  const MatrixView<float> gate = buffers.gate(rows), up = buffers.up(rows);  // [rows, ffn]

  const GemmInput input =
      buffers.Prepare(normed, {&weights.gate, &weights.up}, context.pool, [&](size_t r) {
        RmsNorm(hidden.row_span(r), weights.ffn_norm.data(), spec.rms_norm_eps, normed.row(r));
      });
  context.Observe(LinearInput::kMlp, layer, normed);
  const GemmOutput products[] = {{&weights.gate, gate}, {&weights.up, up}};
  Gemm(input, products, buffers.gemm_scratch(), context.pool);

  const GemmInput gated = buffers.Prepare(gate, {&weights.down}, context.pool, [&](size_t r) {
    if (spec.activation == Activation::kSilu) {
      SiluMul(gate.row_span(r), up.row(r), gate.row(r));
    } else {
      GeluTanhMul(gate.row_span(r), up.row(r), gate.row(r));
    }
  });
  context.Observe(LinearInput::kMlpOutput, layer, gate);
  const bool post_norm = !weights.ffn_post_norm.empty();
  const MatrixView<float> branch = buffers.branch(rows);
  const GemmOutput product{&weights.down, post_norm ? branch : hidden, nullptr,
                           /*accumulate=*/!post_norm};
  Gemm(gated, {&product, 1}, buffers.gemm_scratch(), context.pool);
  if (!post_norm) return;
  ForEachRow(rows, context.pool, [&](size_t r) {
    AddRmsNorm(branch.row_span(r), weights.ffn_post_norm.data(), spec.rms_norm_eps, hidden.row(r));
  });
}

}  // namespace kvasir
