#include "kvasir/quantize/input_statistics.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "kvasir/base/topology.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/kernels/packed_weights.h"
#include "kvasir/model/activation_observer.h"

namespace kvasir {

namespace {

// Of one forward pass, and of one window: long enough that most tokens have a context, short enough
// that a text gives many of them.
constexpr size_t kWindowTokens = 512;
// Fewer leave most directions of the inputs unseen.
constexpr size_t kCalibrationTokensMin = 64;

size_t InputCols(const ModelSpec& spec, LinearInput input) {
  switch (input) {
    case LinearInput::kAttentionOutput:
      return size_t{spec.q_head_count} * spec.head_dim;
    case LinearInput::kMlpOutput:
      return spec.ffn_size;
    default:
      return spec.hidden_size;
  }
}

size_t LayerBytes(const ModelSpec& spec) {
  size_t bytes = 0;
  for (size_t i = 0; i < kLinearInputCount; ++i) {
    const size_t cols = InputCols(spec, static_cast<LinearInput>(i));
    bytes += cols * cols * sizeof(float);
  }
  return bytes;
}

}  // namespace

Status InputStatistics::Add(MatrixView<const float> rows, const GemmScratch& scratch,
                            ThreadPool& pool) {
  const size_t count = rows.rows();
  std::vector<float> transposed(cols * count);  // [cols, rows]
  pool.ParallelFor(cols, [&](size_t c, size_t) {
    for (size_t r = 0; r < count; ++r) {
      const float x = rows.row(r)[c];
      transposed[c * count + r] = x;
      magnitude[c] += std::fabs(x);
    }
  });
  const WeightSource source{
      DType::kF32, cols, count, reinterpret_cast<const std::byte*>(transposed.data()), {}};
  KVASIR_ASSIGN_OR_RETURN(const PackedWeights packed,
                          PackedWeights::Pack(source, /*dequantize=*/true, pool));
  const GemmInput input{MatrixView<const float>(transposed.data(), cols, count), nullptr, cols};
  const GemmOutput product{&packed, MatrixView<float>(gram.data(), cols, cols), nullptr,
                           /*accumulate=*/true};
  Gemm(input, {&product, 1}, scratch, pool);
  row_count += count;
  return OkStatus();
}

// Adds up what it is shown of the layers that are wanted.
class StatisticsGatherer::Collector final : public ActivationObserver {
 public:
  Collector(const ModelSpec& spec, GemmScratch scratch, ThreadPool& pool)
      : spec_(spec), scratch_(std::move(scratch)), pool_(pool) {}

  void Begin(uint32_t first, uint32_t count) {
    first_ = first;
    layers_.assign(count, LayerStatistics(kLinearInputCount));
    status_ = OkStatus();
    for (LayerStatistics& layer : layers_) {
      for (size_t i = 0; i < kLinearInputCount; ++i) {
        layer[i].cols = InputCols(spec_, static_cast<LinearInput>(i));
        layer[i].gram.resize(layer[i].cols * layer[i].cols);
        layer[i].magnitude.resize(layer[i].cols);
      }
    }
  }

  void Observe(LinearInput input, uint32_t layer, MatrixView<const float> rows) override {
    if (layer < first_ || layer - first_ >= layers_.size() || !status_.ok()) return;
    status_ = layers_[layer - first_][static_cast<size_t>(input)].Add(rows, scratch_, pool_);
  }

  // The sums since Begin. kDataLoss when they are not finite.
  Result<std::vector<LayerStatistics>> Take() {
    KVASIR_RETURN_IF_ERROR(status_);
    for (size_t i = 0; i < layers_.size(); ++i) {
      for (const InputStatistics& input : layers_[i]) {
        for (size_t c = 0; c < input.cols; ++c) {
          if (!std::isfinite(input.gram[c * input.cols + c])) {
            return DataLoss("the activations of layer " + std::to_string(first_ + i) +
                            " are not finite on the calibration text");
          }
        }
      }
    }
    return std::move(layers_);
  }

 private:
  const ModelSpec spec_;
  GemmScratch scratch_;
  ThreadPool& pool_;
  uint32_t first_ = 0;
  std::vector<LayerStatistics> layers_;
  Status status_;
};

StatisticsGatherer::StatisticsGatherer(std::vector<TokenId> tokens, size_t window_tokens,
                                       ThreadPool& pool)
    : tokens_(std::move(tokens)), window_tokens_(window_tokens), pool_(pool) {}

StatisticsGatherer::~StatisticsGatherer() = default;

Result<std::unique_ptr<StatisticsGatherer>> StatisticsGatherer::Create(const Checkpoint& checkpoint,
                                                                       std::vector<TokenId> tokens,
                                                                       ThreadPool& pool) {
  if (tokens.size() < kCalibrationTokensMin) {
    return InvalidArgument("the calibration text has " + std::to_string(tokens.size()) +
                           " tokens, at least " + std::to_string(kCalibrationTokensMin) +
                           " are needed");
  }
  const ModelSpec& spec = checkpoint.spec();
  const size_t window = std::min({kWindowTokens, size_t{spec.context_length}, tokens.size()});
  tokens.resize(tokens.size() / window * window);
  std::unique_ptr<StatisticsGatherer> gatherer(
      new StatisticsGatherer(std::move(tokens), window, pool));
  KVASIR_ASSIGN_OR_RETURN(GemmScratch scratch, GemmScratch::Create(window, pool.thread_count()));
  gatherer->collector_ = std::make_unique<Collector>(spec, std::move(scratch), pool);
  LoadOptions options;
  options.row_count_max = window;
  options.observer = gatherer->collector_.get();
  // Plain weights meet f32 activations in any case and need not grow; the rows must be those of the
  // weights' own values.
  const bool quantized = std::any_of(
      checkpoint.tensors().begin(), checkpoint.tensors().end(),
      [](const auto& entry) { return GetDTypeInfo(entry.second.dtype).block_elements > 1; });
  options.activations = quantized ? ActivationPrecision::kF32 : ActivationPrecision::kInt8;
  KVASIR_ASSIGN_OR_RETURN(gatherer->model_, LoadModel(checkpoint, options, pool));
  return gatherer;
}

Result<uint32_t> StatisticsGatherer::LayersAtOnce() const {
  const ModelSpec& spec = model_->spec();
  const size_t layer_bytes = LayerBytes(spec), available = AvailableMemoryBytes();
  if (layer_bytes > available / 2) {
    return ResourceExhausted("the statistics of one layer need " +
                             std::to_string(layer_bytes >> 20) + " MiB of memory, half of the " +
                             std::to_string(available >> 20) +
                             " MiB that are available is allowed");
  }
  return static_cast<uint32_t>(std::min<size_t>(spec.layer_count, available / 2 / layer_bytes));
}

Result<std::vector<LayerStatistics>> StatisticsGatherer::Gather(
    uint32_t first, uint32_t count, const std::function<void(double)>& on_progress) {
  collector_->Begin(first, count);
  KVASIR_ASSIGN_OR_RETURN(
      const auto reader,
      SequenceReader::Create(*model_, model_->KvLayout(KvFormat::kF32), window_tokens_));
  std::vector<float> logits(model_->spec().vocab_size);
  for (size_t begin = 0; begin < tokens_.size(); begin += window_tokens_) {
    BlockTable sequence = reader->NewSequence();
    KVASIR_RETURN_IF_ERROR(reader->Read(std::span(tokens_).subspan(begin, window_tokens_),
                                        window_tokens_, sequence, logits));
    if (on_progress) on_progress(double(begin + window_tokens_) / double(tokens_.size()));
  }
  return collector_->Take();
}

}  // namespace kvasir
