// RopeTable: cosines and sines for attention over keys that are stored before RoPE (rotary position
// embedding, Su et al., arXiv 2104.09864; the half-split form of Llama: dims d and d + dim / 2 turn
// together). Positions split as 16 a + b: the angle of a and that of b are looked up and added, so
// that the table is 16 times smaller than one of all positions and a register of 16 keys shares the
// angle of a. Immutable after creation: any thread.

#ifndef KVASIR_ATTENTION_ROPE_TABLE_H_
#define KVASIR_ATTENTION_ROPE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

class RopeTable {
 public:
  // Frequencies rope_theta^(-2 d / rotary_dim) / rope_scale for d in [0, rotary_dim / 2), for
  // positions [0, position_count). kInvalidArgument names an odd or zero rotary_dim, or a
  // non-positive theta or scale.
  static Result<RopeTable> Create(uint32_t rotary_dim, float rope_theta, float rope_scale,
                                  size_t position_count);
  // Any frequencies (llama3 scaling, YaRN, ...), in radians a position.
  static RopeTable FromFrequencies(std::span<const double> frequencies, size_t position_count);

  uint32_t rotary_dim() const { return 2 * uint32_t(frequency_count_); }
  size_t frequency_count() const { return frequency_count_; }
  size_t position_count() const { return position_count_; }

  // [frequency_count] of position 16 * a.
  const float* CoarseCos(size_t a) const { return &coarse_cos_[a * frequency_count_]; }
  const float* CoarseSin(size_t a) const { return &coarse_sin_[a * frequency_count_]; }
  // [frequency_count, 16]: of positions 0..15.
  const float* FineCos() const { return fine_cos_.data(); }
  const float* FineSin() const { return fine_sin_.data(); }

 private:
  size_t frequency_count_ = 0;
  size_t position_count_ = 0;
  std::vector<float> coarse_cos_, coarse_sin_, fine_cos_, fine_sin_;
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ROPE_TABLE_H_
