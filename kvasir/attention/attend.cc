#include "kvasir/attention/attend.h"

#include <algorithm>

namespace kvasir {

namespace {

// Deals out consecutive, 64-byte aligned arrays. Counting bytes and dividing memory is one
// function, so that they cannot drift apart.
class Carver {
 public:
  explicit Carver(std::byte* memory) : memory_(memory) {}
  template <typename T>
  T* Take(size_t count) {
    T* array = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + byte_count_);
    byte_count_ += (count * sizeof(T) + 63) / 64 * 64;
    return array;
  }
  size_t byte_count() const { return byte_count_; }

 private:
  std::byte* memory_;
  size_t byte_count_ = 0;
};

AttentionScratch Carve(Carver& carver, const AttentionSpec& spec, size_t row_count,
                       size_t weight_groups) {
  // No target has blocks of more than 8 rows, and the last block is padded to the full size.
  constexpr size_t kBlockPadding = 7;
  const size_t padded_v_dim = (spec.v_dim() + 15) / 16 * 16;
  const size_t state_floats = AttentionStates::FloatCount(row_count, spec.v_dim());
  AttentionScratch scratch = {};
  scratch.q = carver.Take<float>((row_count + kBlockPadding) * spec.head_dim);
  scratch.scores = carver.Take<float>(row_count * kScoreStride);
  scratch.split_begin = carver.Take<int32_t>(row_count);
  scratch.split_end = carver.Take<int32_t>(row_count);
  scratch.keys = carver.Take<const std::byte*>(size_t{kKvSplitTokens});
  scratch.key_tails = carver.Take<const std::byte*>(size_t{kKvSplitTokens});
  scratch.values = carver.Take<const std::byte*>(size_t{kKvSplitTokens});
  // Also of quantised tiles, whose quads of dims are padded, as int16.
  scratch.k_tile = carver.Take<float>(kKvBlockTokens * (spec.head_dim + 1));
  scratch.v_tile = carver.Take<float>(kKvBlockTokens * padded_v_dim);
  scratch.running = carver.Take<float>(state_floats);
  scratch.current = carver.Take<float>(state_floats);
  if (weight_groups == 0) return scratch;
  constexpr size_t kTiles = kKvSplitTokens / kKvBlockTokens;
  const size_t chunks = (spec.head_dim + kCodeChunkNumbers - 1) / kCodeChunkNumbers;
  scratch.encoded_begin = carver.Take<int32_t>(row_count);
  scratch.encoded_end = carver.Take<int32_t>(row_count);
  scratch.own_begin = carver.Take<int32_t>(row_count);
  scratch.own_end = carver.Take<int32_t>(row_count);
  scratch.q_codes = carver.Take<int16_t>(chunks * row_count * kCodeChunkNumbers);
  scratch.q_scales = carver.Take<float>(row_count);
  scratch.weight_codes =
      carver.Take<int16_t>(weight_groups * kTiles * row_count * kCodeChunkNumbers);
  scratch.weight_scales = carver.Take<float>(weight_groups * row_count);
  scratch.value_scales = carver.Take<float>(weight_groups * kKvSplitTokens);
  scratch.scale_maxima = carver.Take<float>(weight_groups * kTiles);
  scratch.scaled_q = carver.Take<float>(chunks * kCodeChunkNumbers);
  scratch.value_sums = carver.Take<int32_t>(row_count * padded_v_dim);
  return scratch;
}

}  // namespace

size_t AttentionScratch::ByteCount(const AttentionSpec& spec, size_t row_count,
                                   size_t weight_groups) {
  Carver carver(nullptr);
  Carve(carver, spec, row_count, weight_groups);
  return carver.byte_count();
}

AttentionScratch AttentionScratch::At(std::byte* memory, const AttentionSpec& spec,
                                      size_t row_count, size_t weight_groups) {
  Carver carver(memory);
  return Carve(carver, spec, row_count, weight_groups);
}

AttentionStates AttentionRun::Partial(int32_t slot, size_t kv_head) const {
  const size_t group = spec.group_size();
  const size_t floats = AttentionStates::FloatCount(group, spec.v_dim());
  return AttentionStates::At(partials + (size_t(slot) * spec.num_kv_heads + kv_head) * floats,
                             group, spec.v_dim());
}

}  // namespace kvasir
