// What keys and values of a text look like, head by head.

#include <algorithm>
#include <cmath>
#include <memory>

#include "kvasir/eval/kv_calibrate.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/formats/kv_codec.h"

namespace kvasir {

namespace {

// Sums over the tokens of one head, by channel.
struct ChannelSums {
  explicit ChannelSums(size_t head_dim) : sum(head_dim), squares(head_dim) {}

  void Add(std::span<const float> token) {
    for (size_t c = 0; c < sum.size(); ++c) {
      const double x = token[c];
      absmax = std::max(absmax, std::abs(x));
      sum[c] += x;
      squares[c] += x * x;
    }
    ++count;
  }
  KvHeadStatistics Summarize(uint32_t layer, uint32_t kv_head, KvSide side) const {
    const double n = double(std::max<size_t>(count, 1)), channels = double(sum.size());
    double energy = 0, mean_energy = 0, largest = 0;
    for (size_t c = 0; c < sum.size(); ++c) {
      energy += squares[c] / n;
      mean_energy += (sum[c] / n) * (sum[c] / n);
      largest = std::max(largest, squares[c] / n);
    }
    KvHeadStatistics statistics{layer, kv_head, side, absmax, 0, 0, 0};
    statistics.rms = std::sqrt(energy / channels);
    statistics.mean_share = energy > 0 ? mean_energy / energy : 0;
    statistics.max_channel_rms = std::sqrt(largest);
    return statistics;
  }

  double absmax = 0;
  size_t count = 0;
  std::vector<double> sum, squares;  // [head_dim]
};

}  // namespace

Result<std::vector<KvHeadStatistics>> MeasureKvStatistics(Model& model,
                                                          std::span<const TokenId> tokens,
                                                          size_t chunk_tokens) {
  KVASIR_RETURN_IF_ERROR(CheckTokens(model, tokens));
  const KvBlockLayout layout = model.KvLayout(KvFormat::kBF16);
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<SequenceReader> reader,
                          SequenceReader::Create(model, layout, tokens.size()));
  BlockTable sequence = reader->NewSequence();
  KVASIR_RETURN_IF_ERROR(
      reader->Read(tokens, std::min(chunk_tokens, model.row_count_max()), sequence, {}));
  const size_t head_numbers = size_t{kKvBlockTokens} * layout.head_dim;
  std::vector<float> k(layout.kv_head_count * head_numbers), v(k.size());
  std::vector<KvHeadStatistics> statistics;
  for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
    // Of all heads, keys and values: [kv_head_count]
    std::vector<ChannelSums> k_sums(layout.kv_head_count, ChannelSums(layout.head_dim));
    std::vector<ChannelSums> v_sums = k_sums;
    for (size_t b = 0; b < sequence.complete_block_count(); ++b) {
      const std::byte* block =
          reader->pool().base() + size_t(sequence.blocks()[b]) * layout.block_bytes();
      DequantizeKvBlock(layout, block, layer, k, v);
      for (size_t row = 0; row < layout.kv_head_count * kKvBlockTokens; ++row) {
        const size_t head = row / kKvBlockTokens, at = row * layout.head_dim;
        k_sums[head].Add(std::span(k).subspan(at, layout.head_dim));
        v_sums[head].Add(std::span(v).subspan(at, layout.head_dim));
      }
    }
    for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
      statistics.push_back(k_sums[head].Summarize(layer, head, KvSide::kKey));
      statistics.push_back(v_sums[head].Summarize(layer, head, KvSide::kValue));
    }
  }
  return statistics;
}

}  // namespace kvasir
