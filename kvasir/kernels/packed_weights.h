// PackedWeights: one weight matrix in the order that the GEMM kernels read: panels of 16 outputs,
// so that a vector lane is an output and no kernel ever sums across lanes. The numbers stay in
// their quantised form: packing moves bits, it never rounds. Immutable after Pack; owned by the
// model; any thread may read.
//
// A panel of a quantised matrix is a run of groups of 32 inputs. One group's codes, for lane l =
// 0..15, quad q = 0..7 and j = 0..3 (input k = 4q + j of the group):
//
//   4 bits   4 units of 64 bytes; byte 4l + j of unit u: low nibble quad u, high nibble quad u + 4
//   5 bits   the same 256 bytes, then 64 bytes: bit q of byte 4l + j is bit 4 of quad q
//   6 bits   the same 256 bytes, then 2 units of 64: bits 2i..2i+1 of byte 4l + j of unit v are
//   bits 4..5 of quad 4v + i 8 bits   8 units of 64 bytes, signed: byte 4l + j of unit q is quad q
//
// so one 64-byte load holds one quad of all 16 lanes: what vpdpbusd (AVX-512 VNNI) or two
// vpmaddubsw (AVX2) multiply with a broadcast quad of activations. Scales lie in arrays of their
// own, 16 lanes wide. A panel of a plain matrix (f32, f16, bf16) is [input][lane], bf16 as
// [input/2][lane][input%2] (one shift or one mask widens it). Rows are padded with zeros to a
// multiple of 32 outputs (a pair of panels).

#ifndef KVASIR_KERNELS_PACKED_WEIGHTS_H_
#define KVASIR_KERNELS_PACKED_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/dtype.h"

namespace kvasir {

inline constexpr size_t kPanelRows =
    16;  // outputs of a panel: the lanes of one 512-bit register of f32
inline constexpr size_t kGroupInputs = 32;   // inputs that share a scale (16 in the halves of Q6_K)
inline constexpr size_t kSuperInputs = 256;  // inputs of a K-quant super-block

// Row-major source: row r of the packed matrix is row row_order[r] (or r when row_order is empty)
// of `data`.
struct WeightSource {
  DType dtype = DType::kF32;
  size_t rows = 0;
  size_t cols = 0;  // a multiple of the dtype's block
  const std::byte* data = nullptr;
  std::span<const uint32_t> row_order;
};

class PackedWeights {
 public:
  PackedWeights() = default;

  // Packs `source`, as f32 values when `dequantize` is set, else in its own format.
  // kResourceExhausted when memory cannot be had.
  static Result<PackedWeights> Pack(const WeightSource& source, bool dequantize, ThreadPool& pool);

  DType dtype() const { return dtype_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t bytes() const { return buffer_.size(); }
  bool quantized() const { return GetDTypeInfo(dtype_).block_elements > 1; }
  size_t panel_count() const { return (rows_ + 2 * kPanelRows - 1) / (2 * kPanelRows) * 2; }
  size_t group_count() const { return cols_ / kGroupInputs; }
  size_t super_count() const { return cols_ / kSuperInputs; }

  // The parts of panel `p`. Codes: see above. scales/mins: f16, [group][16], or [super][16] in
  // K-quants. sub_scales / sub_mins: bytes, [group][16] in Q4_K and Q5_K; sub_scales signed [2 *
  // group][16] in Q6_K. Null where the format has none.
  const std::byte* codes(size_t p) const { return buffer_.data() + p * codes_panel_bytes_; }
  const uint16_t* scales(size_t p) const {
    return Part<uint16_t>(scales_offset_, p, scale_count());
  }
  const uint16_t* mins(size_t p) const { return Part<uint16_t>(mins_offset_, p, scale_count()); }
  const uint8_t* sub_scales(size_t p) const {
    return Part<uint8_t>(sub_scales_offset_, p, sub_scale_count());
  }
  const uint8_t* sub_mins(size_t p) const {
    return Part<uint8_t>(sub_mins_offset_, p, sub_scale_count());
  }

  // Row `r` as f32 [cols], the values that formats/gguf_quants gives for the source row. For
  // embedding look-ups.
  void DequantizeRow(size_t r, float* out) const;

 private:
  template <typename T>
  const T* Part(size_t offset, size_t p, size_t count) const {
    return offset == 0 ? nullptr : reinterpret_cast<const T*>(buffer_.data() + offset) + p * count;
  }
  bool is_super() const { return GetDTypeInfo(dtype_).block_elements == kSuperInputs; }
  size_t scale_count() const { return (is_super() ? super_count() : group_count()) * kPanelRows; }
  size_t sub_scale_count() const {
    return group_count() * (dtype_ == DType::kQ6_K ? 2 : 1) * kPanelRows;
  }
  size_t LayOut();
  void PackPanel(const WeightSource& source, bool dequantize, size_t p);
  void PackPlainRow(const WeightSource& source, const std::byte* row, size_t p, size_t lane);
  void PackQuantizedRow(const std::byte* row, size_t p, size_t lane);

  DType dtype_ = DType::kF32;
  size_t rows_ = 0;
  size_t cols_ = 0;
  size_t codes_panel_bytes_ = 0;
  size_t scales_offset_ = 0;  // 0: the format has no such part
  size_t mins_offset_ = 0;
  size_t sub_scales_offset_ = 0;
  size_t sub_mins_offset_ = 0;
  AlignedBuffer buffer_;
};

}  // namespace kvasir

#endif  // KVASIR_KERNELS_PACKED_WEIGHTS_H_
