#include "kvasir/kernels/packed_weights.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kvasir/base/check.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/gguf_quants.h"
#include "kvasir/kernels/weight_codes.h"

namespace kvasir {

namespace {

// Parts begin at multiples of this, so that every 64-byte load of the kernels is aligned.
size_t AlignPart(size_t offset) { return (offset + 63) / 64 * 64; }

bool HasMins(DType dtype) {
  return dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K ||
         dtype == DType::kQ5_K;
}

// Element of [input][lane], or of [input/2][lane][input%2] for bf16.
size_t PlainElement(DType dtype, size_t k, size_t lane) {
  if (dtype == DType::kBF16) return (k / 2 * kPanelRows + lane) * 2 + k % 2;
  return k * kPanelRows + lane;
}

}  // namespace

size_t PackedWeights::LayOut() {
  if (!quantized()) {
    const size_t padded_cols = cols_ + (dtype_ == DType::kBF16 ? cols_ % 2 : 0);
    codes_panel_bytes_ = padded_cols * kPanelRows * GetDTypeInfo(dtype_).block_bytes;
    return panel_count() * codes_panel_bytes_;
  }
  codes_panel_bytes_ = group_count() * GroupCodeBytes(CodeBits(dtype_));
  size_t end = panel_count() * codes_panel_bytes_;
  const auto add_part = [&](size_t* offset, size_t bytes_per_panel) {
    *offset = AlignPart(end);
    end = *offset + panel_count() * bytes_per_panel;
  };
  add_part(&scales_offset_, scale_count() * sizeof(uint16_t));
  if (HasMins(dtype_)) add_part(&mins_offset_, scale_count() * sizeof(uint16_t));
  if (is_super()) add_part(&sub_scales_offset_, sub_scale_count());
  if (is_super() && HasMins(dtype_)) add_part(&sub_mins_offset_, sub_scale_count());
  return AlignPart(end);
}

Result<PackedWeights> PackedWeights::Pack(const WeightSource& source, bool dequantize,
                                          ThreadPool& pool) {
  KVASIR_CHECK(source.row_order.empty() || source.row_order.size() == source.rows);
  KVASIR_CHECK(source.cols % GetDTypeInfo(source.dtype).block_elements == 0);
  PackedWeights packed;
  packed.dtype_ = dequantize ? DType::kF32 : source.dtype;
  packed.rows_ = source.rows;
  packed.cols_ = source.cols;
  const size_t byte_count = packed.LayOut();
  KVASIR_ASSIGN_OR_RETURN(packed.buffer_, AlignedBuffer::Allocate(byte_count));
  pool.ParallelFor(packed.panel_count(),
                   [&](size_t p, size_t) { packed.PackPanel(source, dequantize, p); });
  return packed;
}

void PackedWeights::PackPanel(const WeightSource& source, bool dequantize, size_t p) {
  const size_t row_bytes = DTypeBytes(source.dtype, cols_);
  for (size_t lane = 0; lane < kPanelRows; ++lane) {
    const size_t r = p * kPanelRows + lane;
    if (r >= rows_) return;  // padding stays zero
    const size_t source_row = source.row_order.empty() ? r : source.row_order[r];
    const std::byte* row = source.data + source_row * row_bytes;
    if (quantized()) {
      PackQuantizedRow(row, p, lane);
    } else {
      PackPlainRow(source, row, p, lane);
    }
  }
}

void PackedWeights::PackPlainRow(const WeightSource& source, const std::byte* row, size_t p,
                                 size_t lane) {
  std::byte* panel = buffer_.data() + p * codes_panel_bytes_;
  if (dtype_ == DType::kF32) {
    std::vector<float> values(cols_);
    kvasir::DequantizeRow(source.dtype, row, cols_, values.data());
    for (size_t k = 0; k < cols_; ++k) {
      reinterpret_cast<float*>(panel)[PlainElement(dtype_, k, lane)] = values[k];
    }
    return;
  }
  for (size_t k = 0; k < cols_; ++k) {
    std::memcpy(panel + 2 * PlainElement(dtype_, k, lane), row + 2 * k, 2);
  }
}

void PackedWeights::PackQuantizedRow(const std::byte* row, size_t p, size_t lane) {
  const size_t bits = CodeBits(dtype_);
  auto* codes = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(this->codes(p)));
  auto* scales = const_cast<uint16_t*>(this->scales(p));
  auto* mins = const_cast<uint16_t*>(this->mins(p));
  auto* sub_scales = const_cast<uint8_t*>(this->sub_scales(p));
  auto* sub_mins = const_cast<uint8_t*>(this->sub_mins(p));
  WeightGroup group;
  for (size_t g = 0; g < group_count(); ++g) {
    ReadWeightGroup(dtype_, row, g, &group);
    uint8_t* group_codes = codes + g * GroupCodeBytes(bits);
    for (size_t k = 0; k < kGroupInputs; ++k) {
      PutPackedCode(bits, lane, k, group.codes[k], group_codes);
    }
    const size_t s = (is_super() ? g * kGroupInputs / kSuperInputs : g) * kPanelRows + lane;
    scales[s] = group.scale;
    if (mins != nullptr) mins[s] = group.min;
    if (dtype_ == DType::kQ6_K) {
      sub_scales[2 * g * kPanelRows + lane] = static_cast<uint8_t>(group.sub_scale[0]);
      sub_scales[(2 * g + 1) * kPanelRows + lane] = static_cast<uint8_t>(group.sub_scale[1]);
    } else if (is_super()) {
      sub_scales[g * kPanelRows + lane] = static_cast<uint8_t>(group.sub_scale[0]);
      sub_mins[g * kPanelRows + lane] = group.sub_min;
    }
  }
}

void PackedWeights::DequantizeRow(size_t r, float* out) const {
  KVASIR_DCHECK(r < rows_);
  const size_t p = r / kPanelRows, lane = r % kPanelRows;
  if (!quantized()) {
    const std::byte* panel = codes(p);
    for (size_t k = 0; k < cols_; ++k) {
      const std::byte* at =
          panel + PlainElement(dtype_, k, lane) * GetDTypeInfo(dtype_).block_bytes;
      kvasir::DequantizeRow(dtype_, at, 1, out + k);
    }
    return;
  }
  const size_t bits = CodeBits(dtype_);
  for (size_t g = 0; g < group_count(); ++g) {
    const auto* group_codes = reinterpret_cast<const uint8_t*>(codes(p)) + g * GroupCodeBytes(bits);
    const size_t s = (is_super() ? g * kGroupInputs / kSuperInputs : g) * kPanelRows + lane;
    const float scale = F32FromF16(scales(p)[s]);
    const float min = mins(p) == nullptr ? 0 : F32FromF16(mins(p)[s]);
    for (size_t k = 0; k < kGroupInputs; ++k) {
      const uint8_t code = GetPackedCode(bits, lane, k, group_codes);
      float* value = out + g * kGroupInputs + k;
      switch (dtype_) {
        case DType::kQ4_0:
          *value = scale * (code - 8);
          break;
        case DType::kQ5_0:
          *value = scale * (code - 16);
          break;
        case DType::kQ8_0:
          *value = scale * static_cast<int8_t>(code);
          break;
        case DType::kQ6_K: {
          const auto sub = static_cast<int8_t>(sub_scales(p)[(2 * g + k / 16) * kPanelRows + lane]);
          *value = scale * sub * (code - 32);
          break;
        }
        case DType::kQ4_K:
        case DType::kQ5_K:
          *value = scale * sub_scales(p)[g * kPanelRows + lane] * code -
                   min * sub_mins(p)[g * kPanelRows + lane];
          break;
        default:
          *value = scale * code + min;
      }
    }
  }
}

}  // namespace kvasir
