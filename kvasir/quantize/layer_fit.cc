#include "kvasir/quantize/layer_fit.h"

#include "kvasir/formats/block_encoder.h"
#include "kvasir/formats/gguf_quants.h"
#include "kvasir/quantize/error_feedback.h"
#include "kvasir/quantize/output_error.h"

namespace kvasir {

namespace {

std::vector<TensorRole> Readers(LinearInput input) {
  using R = TensorRole;
  switch (input) {
    case LinearInput::kAttention:
      return {R::kAttnQ, R::kAttnK, R::kAttnV};
    case LinearInput::kAttentionOutput:
      return {R::kAttnO};
    case LinearInput::kMlp:
      return {R::kFfnGate, R::kFfnUp};
    case LinearInput::kMlpOutput:
      return {R::kFfnDown};
  }
  return {};
}

// What produces the channels of an input, so that dividing it there undoes the readers' scales:
// the norm in front, the values that attention averages, the factor that the gate multiplies.
std::vector<TensorRole> Sources(LinearInput input) {
  using R = TensorRole;
  switch (input) {
    case LinearInput::kAttention:
      return {R::kAttnNorm};
    case LinearInput::kAttentionOutput:
      return {R::kAttnV, R::kAttnVBias};
    case LinearInput::kMlp:
      return {R::kFfnNorm};
    case LinearInput::kMlpOutput:
      return {R::kFfnUp};
  }
  return {};
}

bool HasBlocks(DType dtype) { return GetDTypeInfo(dtype).block_elements > 1; }

}  // namespace

MatrixView<const float> LayerFit::Matrix(const Tensor& tensor) const {
  const size_t cols = tensor.plan->source->cols;
  return {tensor.values.data(), tensor.values.size() / cols, cols};
}

Result<LayerFit::Errors> LayerFit::Fit(LayerStatistics statistics, bool scale_channels,
                                       bool feed_back_errors) {
  Errors errors;
  // From the back: scaling an input's channels divides rows of the matrix that produces them, which
  // must happen before that matrix is rounded.
  for (size_t i = kLinearInputCount; i-- > 0;) {
    KVASIR_RETURN_IF_ERROR(FitInput(static_cast<LinearInput>(i), statistics[i], scale_channels,
                                    feed_back_errors, &errors));
    statistics[i] = {};
  }
  return errors;
}

Status LayerFit::FitInput(LinearInput input, InputStatistics& statistics, bool scale_channels,
                          bool feed_back_errors, Errors* errors) {
  const std::vector<TensorRole> readers = Readers(input);
  KVASIR_ASSIGN_OR_RETURN(OutputError error, OutputError::Create(statistics, pool_));
  std::vector<float> change;
  // The error of tensors that `rounded` gives, relative to the outputs.
  const auto relative = [&](const Tensor& tensor, MatrixView<const float> original) {
    for (size_t i = 0; i < change.size(); ++i) change[i] -= tensor.values[i];
    const double outputs = error.Of(original);
    return outputs > 0 ? error.Of({change.data(), original.rows(), original.cols()}) / outputs : 0;
  };
  std::vector<ScaledMatrix> matrices;
  for (const TensorRole role : readers) {
    const Tensor& tensor = tensors_.at(role);
    const MatrixView<const float> matrix = Matrix(tensor);
    matrices.push_back({matrix, tensor.plan->info.dtype});
    if (!HasBlocks(tensor.plan->info.dtype)) continue;
    change.resize(tensor.values.size());
    RoundTrip(matrix, tensor.plan->info.dtype, pool_,
              {change.data(), matrix.rows(), matrix.cols()});
    errors->plain += relative(tensor, matrix);
    ++errors->matrix_count;
  }
  if (scale_channels) {
    const ChannelOwners owners = Owners(input);
    const std::vector<float> scales = SearchScales(matrices, statistics, error, owners, pool_);
    ApplyScales(input, readers, owners, scales, &statistics);
    KVASIR_ASSIGN_OR_RETURN(error, OutputError::Create(statistics, pool_));
  }
  std::vector<float> factor;
  if (feed_back_errors) {
    KVASIR_ASSIGN_OR_RETURN(factor, InverseFactor(statistics, pool_));
  }
  for (const TensorRole role : readers) {
    Tensor& tensor = tensors_.at(role);
    if (!HasBlocks(tensor.plan->info.dtype)) continue;
    KVASIR_RETURN_IF_ERROR(Encode(factor, &tensor));
    change.resize(tensor.values.size());
    DequantizeRow(tensor.plan->info.dtype, tensor.bytes.data(), change.size(), change.data());
    errors->fitted += relative(tensor, Matrix(tensor));
  }
  return OkStatus();
}

// Query heads of a group read the same value head, whose channels therefore have one scale.
ChannelOwners LayerFit::Owners(LinearInput input) const {
  if (input != LinearInput::kAttentionOutput) return {};
  ChannelOwners owners;
  owners.count = size_t{spec_.kv_head_count} * spec_.head_dim;
  for (uint32_t head = 0; head < spec_.q_head_count; ++head) {
    for (uint32_t i = 0; i < spec_.head_dim; ++i) {
      owners.owner.push_back(head / spec_.group_size() * spec_.head_dim + i);
    }
  }
  return owners;
}

void LayerFit::ApplyScales(LinearInput input, std::span<const TensorRole> readers,
                           const ChannelOwners& owners, std::span<const float> scales,
                           InputStatistics* statistics) {
  const size_t cols = statistics->cols;
  const auto scale_of = [&](size_t channel) {
    return scales[owners.owner.empty() ? channel : owners.owner[channel]];
  };
  for (const TensorRole role : readers) {
    std::vector<float>& values = tensors_.at(role).values;
    pool_.ParallelFor(values.size() / cols, [&](size_t r, size_t) {
      for (size_t c = 0; c < cols; ++c) values[r * cols + c] *= scale_of(c);
    });
  }
  for (const TensorRole role : Sources(input)) {
    const auto it = tensors_.find(role);
    if (it == tensors_.end()) continue;  // no bias
    // Row r of a matrix, or number r of a vector, makes channel r.
    std::vector<float>& values = it->second.values;
    const size_t width = values.size() / scales.size();
    for (size_t i = 0; i < values.size(); ++i) values[i] /= scales[i / width];
  }
  pool_.ParallelFor(cols, [&](size_t r, size_t) {
    for (size_t c = 0; c < cols; ++c) statistics->gram[r * cols + c] /= scale_of(r) * scale_of(c);
  });
}

Status LayerFit::Encode(const std::vector<float>& factor, Tensor* tensor) {
  const DType dtype = tensor->plan->info.dtype;
  const MatrixView<const float> matrix = Matrix(*tensor);
  const size_t row_bytes = DTypeBytes(dtype, matrix.cols());
  KVASIR_RETURN_IF_ERROR(CheckRepresentable(matrix, tensor->plan->source->name, pool_));
  tensor->bytes.resize(matrix.rows() * row_bytes);
  if (!factor.empty() && HasBlockEncoder(dtype)) {
    QuantizeWithFeedback(matrix, dtype, factor, pool_, tensor->bytes);
  } else {
    pool_.ParallelFor(matrix.rows(), [&](size_t r, size_t) {
      QuantizeRow(dtype, matrix.row(r), matrix.cols(), tensor->bytes.data() + r * row_bytes);
    });
  }
  return OkStatus();
}

}  // namespace kvasir
