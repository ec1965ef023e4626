#include "kvasir/quantize/quantize_checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "kvasir/formats/gguf_quants.h"
#include "kvasir/quantize/input_statistics.h"
#include "kvasir/quantize/layer_fit.h"
#include "kvasir/quantize/tensor_types.h"
#include "kvasir/text/gguf_vocabulary.h"
#include "kvasir/weights/gguf_description.h"
#include "kvasir/weights/gguf_writer.h"
#include "kvasir/weights/tensor_map.h"

namespace kvasir {

namespace {

// Numbers that are converted at a time, for all threads together.
constexpr size_t kChunkNumbers = size_t{16} << 20;

Status CheckSource(const Checkpoint& checkpoint, const QuantizeOptions& options,
                   const std::string& path) {
  std::error_code error;
  if (std::filesystem::equivalent(checkpoint.path(), path, error)) {
    return InvalidArgument("'" + path + "' is the model itself, the output needs another name");
  }
  const TensorView* quantized = FindQuantized(checkpoint);
  if (quantized == nullptr || options.from_quantized) return OkStatus();
  return InvalidArgument("the model is quantised already (" + quantized->name + " is " +
                         std::string(GetDTypeInfo(quantized->dtype).name) +
                         "), which adds its own errors: quantise the original, or say "
                         "--from-quantized");
}

bool IsNorm(TensorRole role) {
  switch (role) {
    case TensorRole::kFinalNorm:
    case TensorRole::kAttnNorm:
    case TensorRole::kAttnQNorm:
    case TensorRole::kAttnKNorm:
    case TensorRole::kAttnPostNorm:
    case TensorRole::kFfnNorm:
    case TensorRole::kFfnPostNorm:
      return true;
    default:
      return false;
  }
}

// One run from a checkpoint to a file.
class Run {
 public:
  Run(const Checkpoint& checkpoint, const QuantizeOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint), options_(options), pool_(pool) {}

  Result<QuantizeReport> To(const std::string& path) {
    const ModelSpec& spec = checkpoint_.spec();
    KVASIR_RETURN_IF_ERROR(CheckSource(checkpoint_, options_, path));
    KVASIR_ASSIGN_OR_RETURN(const TokenizerData vocabulary,
                            ToGgufVocabulary(checkpoint_.tokenizer(), spec.vocab_size));
    KVASIR_ASSIGN_OR_RETURN(description_,
                            DescribeAsGguf(checkpoint_, vocabulary, GgufFileType(options_.type)));
    tensors_ = PlanTensors(checkpoint_, options_.type);
    std::vector<GgufTensorInfo> infos;
    for (const PlannedTensor& tensor : tensors_) infos.push_back(tensor.info);
    if (!description_.rope_freqs.empty()) {
      infos.push_back({"rope_freqs.weight", DType::kF32, {description_.rope_freqs.size()}});
    }
    KVASIR_ASSIGN_OR_RETURN(writer_, GgufWriter::Create(path, description_.metadata,
                                                        std::move(infos), options_.replace));
    KVASIR_RETURN_IF_ERROR(options_.calibrates() ? WriteCalibrated() : WriteRounded());
    if (!description_.rope_freqs.empty()) {
      KVASIR_RETURN_IF_ERROR(writer_->Append(std::as_bytes(std::span(description_.rope_freqs))));
    }
    KVASIR_RETURN_IF_ERROR(writer_->Finish());
    Report();
    return std::move(report_);
  }

 private:
  void Progress(std::string_view phase, double share) const {
    if (options_.on_progress) options_.on_progress(phase, share);
  }

  // Which row of the checkpoint row r of the file is.
  std::span<const uint32_t> RowOrder(TensorRole role) const {
    if (role == TensorRole::kAttnQ || role == TensorRole::kAttnQBias)
      return description_.q_row_order;
    if (role == TensorRole::kAttnK || role == TensorRole::kAttnKBias)
      return description_.k_row_order;
    return {};
  }

  // Rows [first, first + count) of a matrix, or the numbers of a vector, in the order of the file.
  void Load(const PlannedTensor& tensor, size_t first, size_t count, std::vector<float>* values) {
    const TensorView& source = *tensor.source;
    const std::span<const uint32_t> order = RowOrder(tensor.role);
    const size_t row_bytes = DTypeBytes(source.dtype, source.cols);
    values->resize(count * source.cols);
    const bool is_vector = tensor.info.shape.size() == 1;
    pool_.ParallelFor(count, [&](size_t i, size_t) {
      const size_t r = is_vector || order.empty() ? first + i : order[first + i];
      DequantizeRow(source.dtype, source.bytes.data() + r * row_bytes, source.cols,
                    values->data() + i * source.cols);
    });
    if (!is_vector) return;
    const std::vector<float> numbers = *values;
    const float offset = IsNorm(tensor.role) ? description_.norm_weight_offset : 0;
    for (size_t i = 0; i < numbers.size(); ++i) {
      (*values)[i] = numbers[order.empty() ? i : order[i]] + offset;
    }
  }

  // Writes rows of numbers as they are, each rounded to the nearest code.
  Status WriteRows(const PlannedTensor& tensor, const std::vector<float>& values) {
    const size_t cols = tensor.source->cols, rows = values.size() / cols;
    const DType dtype = tensor.info.dtype;
    const MatrixView<const float> matrix(values.data(), rows, cols);
    if (dtype != DType::kF32) {
      KVASIR_RETURN_IF_ERROR(CheckRepresentable(matrix, tensor.source->name, pool_));
    }
    const size_t row_bytes = DTypeBytes(dtype, cols);
    std::vector<std::byte> bytes(rows * row_bytes);
    pool_.ParallelFor(rows, [&](size_t r, size_t) {
      QuantizeRow(dtype, matrix.row(r), cols, bytes.data() + r * row_bytes);
    });
    return writer_->Append(bytes);
  }

  Status WriteRounded(const PlannedTensor& tensor) {
    const size_t rows = tensor.source->rows;
    const size_t rows_at_once = std::max<size_t>(1, kChunkNumbers / tensor.source->cols);
    std::vector<float> values;
    for (size_t first = 0; first < rows; first += rows_at_once) {
      Load(tensor, first, std::min(rows_at_once, rows - first), &values);
      KVASIR_RETURN_IF_ERROR(WriteRows(tensor, values));
    }
    MappedFile::DropPages(tensor.source->bytes);
    return OkStatus();
  }

  Status WriteRounded() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      KVASIR_RETURN_IF_ERROR(WriteRounded(tensors_[i]));
      Progress("rounding", double(i + 1) / double(tensors_.size()));
    }
    return OkStatus();
  }

  // Statistics of as many layers as fit in memory, then those layers, and so on.
  Status WriteCalibrated() {
    KVASIR_ASSIGN_OR_RETURN(
        const auto gatherer,
        StatisticsGatherer::Create(checkpoint_, options_.calibration_tokens, pool_));
    report_.calibration_token_count = gatherer->token_count();
    const uint32_t layer_count = checkpoint_.spec().layer_count;
    LayerFit::Errors errors;
    size_t next = 0;
    for (; !IsPerLayer(tensors_[next].role); ++next) {
      KVASIR_RETURN_IF_ERROR(WriteRounded(tensors_[next]));
    }
    for (uint32_t first = 0; first < layer_count;) {
      KVASIR_ASSIGN_OR_RETURN(const uint32_t at_once, gatherer->LayersAtOnce());
      const uint32_t count = std::min(at_once, layer_count - first);
      KVASIR_ASSIGN_OR_RETURN(auto statistics, gatherer->Gather(first, count, [&](double share) {
        Progress("calibrating", (first + share * count) / layer_count);
      }));
      for (uint32_t i = 0; i < count; ++i) {
        KVASIR_RETURN_IF_ERROR(WriteLayer(std::move(statistics[i]), &next, &errors));
        Progress("fitting", double(first + i + 1) / layer_count);
      }
      first += count;
    }
    for (; next < tensors_.size(); ++next) KVASIR_RETURN_IF_ERROR(WriteRounded(tensors_[next]));
    if (errors.matrix_count > 0) {
      report_.plain_output_error = errors.plain / double(errors.matrix_count);
      report_.output_error = errors.fitted / double(errors.matrix_count);
    }
    return OkStatus();
  }

  // The layer whose first tensor is number *next; *next is behind it afterwards.
  Status WriteLayer(LayerStatistics statistics, size_t* next, LayerFit::Errors* errors) {
    const uint32_t layer = tensors_[*next].layer;
    const size_t begin = *next;
    std::map<TensorRole, LayerFit::Tensor> loaded;
    for (; *next < tensors_.size() && IsPerLayer(tensors_[*next].role) &&
           tensors_[*next].layer == layer;
         ++*next) {
      const PlannedTensor& tensor = tensors_[*next];
      LayerFit::Tensor& target = loaded[tensor.role];
      target.plan = &tensor;
      Load(tensor, 0, tensor.source->rows, &target.values);
    }
    LayerFit fit(checkpoint_.spec(), std::move(loaded), pool_);
    KVASIR_ASSIGN_OR_RETURN(
        const LayerFit::Errors layer_errors,
        fit.Fit(std::move(statistics), options_.scale_channels, options_.feed_back_errors));
    errors->plain += layer_errors.plain;
    errors->fitted += layer_errors.fitted;
    errors->matrix_count += layer_errors.matrix_count;
    for (size_t i = begin; i < *next; ++i) {
      const LayerFit::Tensor& tensor = fit.tensor(tensors_[i].role);
      KVASIR_RETURN_IF_ERROR(tensor.bytes.empty() ? WriteRows(tensors_[i], tensor.values)
                                                  : writer_->Append(tensor.bytes));
    }
    return OkStatus();
  }

  void Report() {
    // By (wanted, got, cols).
    std::map<std::tuple<DType, DType, uint64_t>, size_t> fallbacks;
    for (const PlannedTensor& tensor : tensors_) {
      QuantizeReport::TypeShare& share = report_.types[tensor.info.dtype];
      const uint64_t number_count = tensor.source->rows * tensor.source->cols;
      ++share.tensor_count;
      share.number_count += number_count;
      share.byte_count += tensor.info.byte_count();
      report_.number_count += number_count;
      if (tensor.wanted != tensor.info.dtype) {
        ++fallbacks[{tensor.wanted, tensor.info.dtype, tensor.source->cols}];
      }
    }
    for (const auto& [kind, count] : fallbacks) {
      const auto& [wanted, got, cols] = kind;
      report_.fallbacks.push_back(
          std::string(GetDTypeInfo(got).name) + " instead of " +
          std::string(GetDTypeInfo(wanted).name) + " for " + std::to_string(count) +
          (count == 1 ? " matrix" : " matrices") + ", whose rows of " + std::to_string(cols) +
          " numbers are no multiple of " + std::to_string(GetDTypeInfo(wanted).block_elements));
    }
    report_.file_bytes = writer_->file_bytes();
  }

  const Checkpoint& checkpoint_;
  const QuantizeOptions& options_;
  ThreadPool& pool_;
  GgufDescription description_;
  std::vector<PlannedTensor> tensors_;
  std::unique_ptr<GgufWriter> writer_;
  QuantizeReport report_;
};

}  // namespace

double QuantizeReport::bits_per_weight() const {
  uint64_t byte_count = 0;
  for (const auto& [dtype, share] : types) byte_count += share.byte_count;
  return number_count == 0 ? 0 : 8.0 * double(byte_count) / double(number_count);
}

Result<QuantizeReport> QuantizeCheckpoint(const Checkpoint& checkpoint,
                                          const QuantizeOptions& options, const std::string& path,
                                          ThreadPool& pool) {
  return Run(checkpoint, options, pool).To(path);
}

}  // namespace kvasir
