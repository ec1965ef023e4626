#include "kvasir/eval/kv_calibrate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvasir/eval/kv_map_search.h"
#include "kvasir/eval/kv_quality.h"

namespace kvasir {

namespace {

// Layouts that are read beside one reference run: one run in nine is the reference then, and the
// pools of short windows stay small.
constexpr size_t kBatchLayouts = 8;

class Calibration {
 public:
  Calibration(Model& model, ThreadPool& pool, std::span<const TokenId> tokens,
              const KvCalibrateOptions& options)
      : model_(model),
        pool_(pool),
        tokens_(tokens),
        options_(options),
        bf16_(model.KvLayout(KvFormat::kBF16)) {}

  Result<KvCalibrateResult> Run();

 private:
  // The choices of tensor t = 2 * layer + side: bf16 first, then the options' formats.
  KvFormat ChoiceFormat(size_t choice) const {
    return choice == 0 ? KvFormat::kBF16 : options_.formats[choice - 1];
  }
  size_t tensor_count() const { return 2 * size_t{bf16_.layer_count}; }
  size_t BytesMax() const;
  std::vector<KvFormats> LayersOf(const KvMap& map) const;
  Status CheckBudget() const;
  Result<KvQualityResult> Measure(std::vector<KvBlockLayout> layouts) const;
  Status MeasureCosts();
  void Progress(double share) const {
    if (options_.on_progress) options_.on_progress(share);
  }

  Model& model_;
  ThreadPool& pool_;
  std::span<const TokenId> tokens_;
  const KvCalibrateOptions& options_;
  const KvBlockLayout bf16_;
  std::vector<KvChoices> tensors_;  // by tensor
  KvCalibrateResult result_;
};

// Bytes of tiles in a block within the budget: a block is a multiple of 4 KiB.
size_t Calibration::BytesMax() const {
  const double numbers =
      2.0 * kKvBlockTokens * bf16_.layer_count * bf16_.kv_head_count * bf16_.head_dim;
  return size_t(options_.budget_bits * numbers / 8) / 4096 * 4096;
}

std::vector<KvFormats> Calibration::LayersOf(const KvMap& map) const {
  std::vector<KvFormats> layers(bf16_.layer_count);
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    layers[layer] = {ChoiceFormat(map[2 * layer]), ChoiceFormat(map[2 * layer + 1])};
  }
  return layers;
}

Result<KvQualityResult> Calibration::Measure(std::vector<KvBlockLayout> layouts) const {
  KvQualityOptions quality;
  quality.layouts = std::move(layouts);
  quality.context_tokens = options_.window_tokens;
  quality.window_count_max = options_.window_count;
  quality.first_scored_token = options_.window_tokens - options_.scored_tokens;
  quality.chunk_tokens = options_.chunk_tokens;
  return MeasureKvQuality(model_, pool_, tokens_, quality);
}

Status Calibration::MeasureCosts() {
  tensors_.assign(tensor_count(), {});
  std::vector<KvBlockLayout> layouts;
  for (size_t tensor = 0; tensor < tensor_count(); ++tensor) {
    for (size_t choice = 0; choice <= options_.formats.size(); ++choice) {
      KvMap map(tensor_count(), 0);
      map[tensor] = choice;
      const KvBlockLayout layout = MixedKvLayout(bf16_, LayersOf(map));
      const uint32_t layer = static_cast<uint32_t>(tensor / 2);
      const KvTile tile = tensor % 2 == 0 ? layout.KTile(layer) : layout.VTile(layer);
      const size_t bytes = bf16_.kv_head_count * tile.bytes();
      tensors_[tensor].push_back({bytes, 0});
      if (choice == 0) continue;
      layouts.push_back(layout);
      result_.costs.push_back({layer, tile.side, tile.format, bytes, 0, 0});
    }
  }
  for (size_t begin = 0; begin < layouts.size(); begin += kBatchLayouts) {
    const size_t count = std::min(kBatchLayouts, layouts.size() - begin);
    const auto first = layouts.begin() + ptrdiff_t(begin);
    KVASIR_ASSIGN_OR_RETURN(const KvQualityResult measured,
                            Measure({first, first + ptrdiff_t(count)}));
    for (size_t i = 0; i < count; ++i) {
      const size_t index = begin + i, formats = options_.formats.size();
      const PredictionQuality& quality = measured.rows[i].quality;
      result_.costs[index].mean_kl = quality.mean_kl;
      result_.costs[index].perplexity = quality.perplexity;
      tensors_[index / formats][1 + index % formats].kl = quality.mean_kl;
    }
    Progress(0.9 * double(begin + count) / double(layouts.size()));
  }
  return OkStatus();
}

Status Calibration::CheckBudget() const {
  size_t smallest = 0;
  for (uint32_t layer = 0; layer < bf16_.layer_count; ++layer) {
    size_t layer_bytes = bf16_.layer_bytes(layer);
    for (const KvFormat format : options_.formats) {
      KvBlockLayout layout = bf16_;
      layout.format = format;
      layer_bytes = std::min(layer_bytes, layout.layer_bytes(layer));
    }
    smallest += layer_bytes;
  }
  if (smallest <= BytesMax()) return OkStatus();
  return InvalidArgument("no map of these formats is within the budget of " +
                         std::to_string(options_.budget_bits) + " bits");
}

Result<KvCalibrateResult> Calibration::Run() {
  KVASIR_RETURN_IF_ERROR(CheckBudget());
  KVASIR_ASSIGN_OR_RETURN(
      result_.statistics,
      MeasureKvStatistics(model_, tokens_.first(options_.window_tokens), options_.chunk_tokens));
  KVASIR_RETURN_IF_ERROR(MeasureCosts());
  const auto start = ChooseKvMap(tensors_, BytesMax());
  KVASIR_CHECK(start.has_value());  // CheckBudget has seen it
  size_t measured_count = 0;
  const auto measure = [&](const KvMap& map) -> Result<double> {
    KVASIR_ASSIGN_OR_RETURN(const KvQualityResult measured,
                            Measure({MixedKvLayout(bf16_, LayersOf(map))}));
    ++measured_count;
    Progress(0.9 + 0.1 * double(measured_count) / double(options_.refine_count + 2));
    return measured.rows[0].quality.mean_kl;
  };
  KVASIR_ASSIGN_OR_RETURN(
      const KvMapRefinement refined,
      RefineKvMap(tensors_, *start, BytesMax(), options_.refine_count, measure));
  // Once more, for all that is to be known of it.
  KVASIR_ASSIGN_OR_RETURN(const KvQualityResult best,
                          Measure({MixedKvLayout(bf16_, LayersOf(refined.map))}));
  result_.layers = LayersOf(refined.map);
  result_.bits_per_element = best.rows[0].bits_per_element;
  result_.added_kl = KvMapKl(tensors_, refined.map);
  result_.start_kl = refined.start_kl;
  result_.refined_count = refined.measured_count;
  result_.measured = best.rows[0].quality;
  result_.reference = best.reference;
  result_.window_count = best.window_count;
  Progress(1);
  return std::move(result_);
}

}  // namespace

Result<KvCalibrateResult> CalibrateKv(Model& model, ThreadPool& pool,
                                      std::span<const TokenId> tokens,
                                      const KvCalibrateOptions& options) {
  if (options.window_tokens < 2 || options.scored_tokens < 1 ||
      options.scored_tokens >= options.window_tokens) {
    return InvalidArgument("of a window of " + std::to_string(options.window_tokens) +
                           " tokens, scored must be at least 1 and fewer than all, not " +
                           std::to_string(options.scored_tokens));
  }
  const size_t needed = options.window_tokens * options.window_count;
  if (tokens.size() < needed) {
    return InvalidArgument("the text has " + std::to_string(tokens.size()) +
                           " tokens, fewer than " + std::to_string(options.window_count) +
                           " windows of " + std::to_string(options.window_tokens));
  }
  return Calibration(model, pool, tokens, options).Run();
}

}  // namespace kvasir
