// BlockEncoder: writes one quantised block number by number, so that a caller may change the
// numbers that come later by the errors of those that came before (GPTQ). What a block's groups
// share is fixed when the block begins, what a group shares when the group begins; between them
// CodeGrid says which values a number can still take. Deterministic and plain: no table, no vector
// code. For one thread at a time.
//
//   Begin(x, block)              the scale of all groups, from the block's numbers
//   Group(j) or Group(j, x)      the grid of group j, from the numbers of Begin or from newer ones
//   Store(i, grid.Nearest(x))    number i of the block

#ifndef KVASIR_FORMATS_BLOCK_ENCODER_H_
#define KVASIR_FORMATS_BLOCK_ENCODER_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "kvasir/formats/dtype.h"
#include "kvasir/formats/gguf_quants.h"

namespace kvasir {

// The values of a group: scale * code + offset for each code.
struct CodeGrid {
  float scale = 0;
  float offset = 0;
  int code_min = 0;
  int code_max = 0;

  int Nearest(float x) const {
    if (scale == 0) return code_min > 0 ? code_min : 0;
    const float code = std::round((x - offset) / scale);
    return static_cast<int>(
        std::clamp(code, static_cast<float>(code_min), static_cast<float>(code_max)));
  }
  float Value(int code) const { return scale * static_cast<float>(code) + offset; }
};

// True for the types below, all of which have groups of kEncoderGroup numbers.
bool HasBlockEncoder(DType dtype);
inline constexpr size_t kEncoderGroup = 32;

class BlockEncoder {
 public:
  // REQUIRES HasBlockEncoder(dtype): Q8_0, Q4_0, Q5_0, Q4_K.
  explicit BlockEncoder(DType dtype);

  // Numbers of one block: a multiple of kEncoderGroup.
  size_t block_elements() const { return GetDTypeInfo(dtype_).block_elements; }

  // REQUIRES block_elements() finite numbers at `x` and the block's bytes at `block`, which must
  // stay until the last Store.
  void Begin(const float* x, std::byte* block);
  // The grid of group `j`, whose scale is written to the block. Once for each group.
  CodeGrid Group(size_t j);
  CodeGrid Group(size_t j, const float* x);
  // REQUIRES a code of the group's grid; once for each number.
  void Store(size_t i, int code);

 private:
  // x = scale * code - min with codes 0..15 (Q4_K).
  struct GroupFit {
    float scale = 0;
    float min = 0;
  };
  static GroupFit Fit(const float* x);
  void BeginQ4_K(const float* x);
  CodeGrid GroupQ4_K(size_t j, const GroupFit& fit);

  DType dtype_;
  std::byte* block_ = nullptr;
  CodeGrid grid_;  // of the block, for the types with one group
  float d_ = 0;    // as stored
  float dmin_ = 0;
  std::array<GroupFit, Q4_KLayout::kElements / kEncoderGroup> fits_;
};

}  // namespace kvasir

#endif  // KVASIR_FORMATS_BLOCK_ENCODER_H_
