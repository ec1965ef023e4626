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

AttentionScratch Carve(Carver& carver, size_t row_count, size_t head_dim) {
  // No target has blocks of more than 8 rows, and the last block is padded to the full size.
  constexpr size_t kBlockPadding = 7;
  const size_t padded_dim = (head_dim + 15) / 16 * 16;
  AttentionScratch scratch;
  scratch.q = carver.Take<float>((row_count + kBlockPadding) * head_dim);
  scratch.scores = carver.Take<float>(row_count * kScoreStride);
  scratch.visible_begin = carver.Take<int32_t>(row_count);
  scratch.visible_end = carver.Take<int32_t>(row_count);
  scratch.split_begin = carver.Take<int32_t>(row_count);
  scratch.split_end = carver.Take<int32_t>(row_count);
  scratch.k_tile = carver.Take<float>(kKvBlockTokens * head_dim);
  scratch.v_tile = carver.Take<float>(kKvBlockTokens * padded_dim);
  scratch.running = carver.Take<float>(AttentionStates::FloatCount(row_count, head_dim));
  scratch.current = carver.Take<float>(AttentionStates::FloatCount(row_count, head_dim));
  return scratch;
}

}  // namespace

size_t AttentionScratch::ByteCount(size_t row_count, size_t head_dim) {
  Carver carver(nullptr);
  Carve(carver, row_count, head_dim);
  return carver.byte_count();
}

AttentionScratch AttentionScratch::At(std::byte* memory, size_t row_count, size_t head_dim) {
  Carver carver(memory);
  return Carve(carver, row_count, head_dim);
}

}  // namespace kvasir
