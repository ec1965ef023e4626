#include "kvasir/kernels/batch_sampling.h"

#include <limits>
#include <string>
#include <string_view>

#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sampling_checks.h"

namespace kvasir {
namespace {

// Far beyond any use: it keeps infinities and NaN out.
constexpr float kTemperatureMax = 1000;

std::string_view NameOf(RowKind kind) { return kind == RowKind::kLogits ? "logits" : "probs"; }

Status CheckTopK(const PerRow<int32_t>& top_k, size_t row_count) {
  return CheckRange("top_k", top_k, 0, std::numeric_limits<int32_t>::max(), row_count);
}

Status CheckFilter(const BatchFilter& filter, size_t row_count) {
  KVASIR_RETURN_IF_ERROR(
      CheckRange("temperature", filter.temperature, 0.0f, kTemperatureMax, row_count));
  KVASIR_RETURN_IF_ERROR(CheckTopK(filter.top_k, row_count));
  KVASIR_RETURN_IF_ERROR(CheckRange("top_p", filter.top_p, 0.0f, 1.0f, row_count));
  return CheckRange("min_p", filter.min_p, 0.0f, 1.0f, row_count);
}

Status CheckIndices(std::span<const int32_t> indices, size_t row_count) {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= 0 && static_cast<size_t>(indices[i]) < row_count) continue;
    return InvalidArgument(ElementName("indices", i) + " is " + std::to_string(indices[i]) +
                           ", allowed is 0 to " + std::to_string(row_count - 1) +
                           ", the rows of the input");
  }
  return OkStatus();
}

RowFilter FilterOfRow(const BatchFilter& filter, size_t row) {
  return {.kind = filter.kind,
          .temperature = filter.temperature[row],
          .top_k = static_cast<uint32_t>(filter.top_k[row]),
          .top_p = filter.top_p[row],
          .min_p = filter.min_p[row],
          .order = filter.filter_apply_order};
}

}  // namespace

Status FilteredSampling(MatrixView<const float> logits_or_probs, const BatchFilter& filter,
                        const SamplingRows& rows, std::span<TokenId> samples,
                        SamplingWorkspace& workspace) {
  const MatrixView<const float>& input = logits_or_probs;
  const size_t batch = rows.indices.empty() ? input.rows() : rows.indices.size();
  KVASIR_RETURN_IF_ERROR(CheckVocabSize(NameOf(filter.kind), input));
  KVASIR_RETURN_IF_ERROR(CheckIndices(rows.indices, input.rows()));
  KVASIR_RETURN_IF_ERROR(CheckSize("samples", samples.size(), batch));
  KVASIR_RETURN_IF_ERROR(CheckPerRow("seed", rows.seed, batch));
  KVASIR_RETURN_IF_ERROR(CheckPerRow("position", rows.position, batch));
  KVASIR_RETURN_IF_ERROR(CheckFilter(filter, batch));
  workspace.pool().ParallelFor(batch, [&](size_t row, size_t worker) {
    const size_t from = rows.indices.empty() ? row : static_cast<size_t>(rows.indices[row]);
    samples[row] =
        SampleRow(FilterOfRow(filter, row), input.row_span(from),
                  UniformFromSeed(rows.seed[row], rows.position[row]), &workspace.scratch(worker));
  });
  return OkStatus();
}

Status FilteredProbs(MatrixView<const float> logits_or_probs, const BatchFilter& filter,
                     MatrixView<float> out, SamplingWorkspace& workspace) {
  const MatrixView<const float>& input = logits_or_probs;
  KVASIR_RETURN_IF_ERROR(CheckVocabSize(NameOf(filter.kind), input));
  KVASIR_RETURN_IF_ERROR(CheckShape("out", out, input.rows(), input.cols()));
  KVASIR_RETURN_IF_ERROR(CheckFilter(filter, input.rows()));
  workspace.pool().ParallelFor(input.rows(), [&](size_t row, size_t worker) {
    RenormRow(FilterOfRow(filter, row), input.row_span(row), &workspace.scratch(worker),
              out.row_span(row));
  });
  return OkStatus();
}

Status SamplingFromProbs(MatrixView<const float> probs, const SamplingRows& rows,
                         std::span<TokenId> samples, SamplingWorkspace& workspace) {
  return FilteredSampling(probs, {.kind = RowKind::kProbs}, rows, samples, workspace);
}

Status SamplingFromLogits(MatrixView<const float> logits, const SamplingRows& rows,
                          std::span<TokenId> samples, SamplingWorkspace& workspace) {
  return FilteredSampling(logits, {}, rows, samples, workspace);
}

Status TopPSamplingFromProbs(MatrixView<const float> probs, const PerRow<float>& top_p,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace) {
  return FilteredSampling(probs, {.kind = RowKind::kProbs, .top_p = top_p}, rows, samples,
                          workspace);
}

Status TopKSamplingFromProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace) {
  return FilteredSampling(probs, {.kind = RowKind::kProbs, .top_k = top_k}, rows, samples,
                          workspace);
}

Status MinPSamplingFromProbs(MatrixView<const float> probs, const PerRow<float>& min_p,
                             const SamplingRows& rows, std::span<TokenId> samples,
                             SamplingWorkspace& workspace) {
  return FilteredSampling(probs, {.kind = RowKind::kProbs, .min_p = min_p}, rows, samples,
                          workspace);
}

Status TopKTopPSamplingFromProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                                 const PerRow<float>& top_p, FilterApplyOrder filter_apply_order,
                                 const SamplingRows& rows, std::span<TokenId> samples,
                                 SamplingWorkspace& workspace) {
  const BatchFilter filter = {.kind = RowKind::kProbs,
                              .top_k = top_k,
                              .top_p = top_p,
                              .filter_apply_order = filter_apply_order};
  return FilteredSampling(probs, filter, rows, samples, workspace);
}

Status TopKTopPSamplingFromLogits(MatrixView<const float> logits, const PerRow<int32_t>& top_k,
                                  const PerRow<float>& top_p, FilterApplyOrder filter_apply_order,
                                  const SamplingRows& rows, std::span<TokenId> samples,
                                  SamplingWorkspace& workspace) {
  const BatchFilter filter = {
      .top_k = top_k, .top_p = top_p, .filter_apply_order = filter_apply_order};
  return FilteredSampling(logits, filter, rows, samples, workspace);
}

Status Softmax(MatrixView<const float> logits, const PerRow<float>& temperature,
               MatrixView<float> out, SamplingWorkspace& workspace) {
  return FilteredProbs(logits, {.temperature = temperature}, out, workspace);
}

Status TopPRenormProbs(MatrixView<const float> probs, const PerRow<float>& top_p,
                       MatrixView<float> out, SamplingWorkspace& workspace) {
  return FilteredProbs(probs, {.kind = RowKind::kProbs, .top_p = top_p}, out, workspace);
}

Status TopKRenormProbs(MatrixView<const float> probs, const PerRow<int32_t>& top_k,
                       MatrixView<float> out, SamplingWorkspace& workspace) {
  return FilteredProbs(probs, {.kind = RowKind::kProbs, .top_k = top_k}, out, workspace);
}

Status TopKMaskLogits(MatrixView<const float> logits, const PerRow<int32_t>& top_k,
                      MatrixView<float> out, SamplingWorkspace& workspace) {
  KVASIR_RETURN_IF_ERROR(CheckVocabSize("logits", logits));
  KVASIR_RETURN_IF_ERROR(CheckShape("out", out, logits.rows(), logits.cols()));
  KVASIR_RETURN_IF_ERROR(CheckTopK(top_k, logits.rows()));
  workspace.pool().ParallelFor(logits.rows(), [&](size_t row, size_t worker) {
    TopKMaskRow(static_cast<uint32_t>(top_k[row]), logits.row_span(row), &workspace.scratch(worker),
                out.row_span(row));
  });
  return OkStatus();
}

}  // namespace kvasir
