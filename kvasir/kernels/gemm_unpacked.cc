// GEMM tiles for many rows: a pair of quantised panels is unpacked once into scratch (codes to
// bytes, scales to f32) and read from there by every tile of rows. The same numbers in the same
// order as the direct tiles.
#include <algorithm>

#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/gemm_unpacked.cc"
#include <hwy/foreach_target.h>
// The tiles need the target chosen above.
#include "kvasir/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// One panel in scratch: codes [group][8 quads][64] bytes, scales [group][2][16] f32, minimums
// [group][16] f32.
constexpr size_t kScratchCodeBytes = 8 * 64;
constexpr size_t kScratchScaleFloats = 2 * kPanelRows;

struct PanelScratch {
  PanelScratch(std::byte* scratch, size_t panel, size_t group_count) {
    std::byte* base = scratch + panel * UnpackedScratchBytes(group_count * kGroupInputs) / 2;
    codes = reinterpret_cast<uint8_t*>(base);
    scales = reinterpret_cast<float*>(base + group_count * kScratchCodeBytes);
    mins = scales + group_count * kScratchScaleFloats;
  }
  uint8_t* codes;
  float* scales;
  float* mins;
};

// The codes of the next pair, asked for a few lines at a time while the tiles of this one compute.
// Unpacking reads memory and the tiles read scratch: with 8 to 32 rows each takes about as long,
// and without this one would wait for the other. Into L2, because scratch fills L1.
class LinesAhead {
 public:
  // Of the pair behind `pair`, if there is one, in `call_count` calls.
  LinesAhead(const PackedWeights& weights, size_t pair, size_t call_count) {
    const size_t next = 2 * (pair + 1);
    if (next >= weights.panel_count()) return;
    at_ = weights.codes(next);
    const size_t bytes = 2 * static_cast<size_t>(weights.codes(next + 1) - at_);
    end_ = at_ + bytes;
    step_bytes_ = (bytes / call_count / kLineBytes + 1) * kLineBytes;
    const auto* scales = reinterpret_cast<const std::byte*>(weights.scales(next));
    const auto* scales_end = reinterpret_cast<const std::byte*>(weights.scales(next + 2));
    for (; scales < scales_end; scales += kLineBytes) __builtin_prefetch(scales, 0, 2);
  }
  HWY_INLINE void Fetch() {
    const std::byte* end = std::min(at_ + step_bytes_, end_);
    for (; at_ < end; at_ += kLineBytes) __builtin_prefetch(at_, 0, 2);
  }

 private:
  static constexpr size_t kLineBytes = 64;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
  size_t step_bytes_ = 0;
};

template <int kCodeBits, int kZeroPoint, bool kWithMin, int kScaleHalves>
class UnpackedReader {
 public:
  static constexpr int kBits = kCodeBits, kZero = kZeroPoint, kHalves = kScaleHalves;
  static constexpr bool kHasMin = kWithMin;
  UnpackedReader(const PanelScratch& scratch, LinesAhead& ahead)
      : scratch_(scratch), ahead_(ahead) {}
  template <int kQuad>
  HWY_INLINE Bytes64 Quad(size_t g) const {
    return LoadBytes(scratch_.codes + g * kScratchCodeBytes + 64 * kQuad);
  }
  HWY_INLINE FloatLanes Scale(size_t g, size_t half) const {
    return LoadLanes(scratch_.scales + g * kScratchScaleFloats + half * kPanelRows);
  }
  HWY_INLINE FloatLanes Min(size_t g) const { return LoadLanes(scratch_.mins + g * kPanelRows); }
  HWY_INLINE void FetchAhead() const { ahead_.Fetch(); }

 private:
  PanelScratch scratch_;
  LinesAhead& ahead_;
};

template <typename Reader, int kQuad>
HWY_INLINE void UnpackQuads(const Reader& reader, size_t g, uint8_t* codes) {
  StoreBytes(reader.template Quad<kQuad>(g), codes + 64 * kQuad);
  if constexpr (kQuad < 7) UnpackQuads<Reader, kQuad + 1>(reader, g, codes);
}

template <typename Reader>
void UnpackPanel(const Reader& reader, size_t group_count, const PanelScratch& scratch) {
  for (size_t g = 0; g < group_count; ++g) {
    UnpackQuads<Reader, 0>(reader, g, scratch.codes + g * kScratchCodeBytes);
    for (size_t half = 0; half < Reader::kHalves; ++half) {
      StoreLanes(reader.Scale(g, half),
                 scratch.scales + g * kScratchScaleFloats + half * kPanelRows);
    }
    if constexpr (Reader::kHasMin) StoreLanes(reader.Min(g), scratch.mins + g * kPanelRows);
  }
}

template <typename Reader>
HWY_INLINE void UnpackAndRun(const GemmInput& input, const GemmOutput& output,
                             const GemmTileRange& range, std::byte* scratch) {
  const size_t group_count = output.weights->group_count();
  const PanelScratch panels[2] = {PanelScratch(scratch, 0, group_count),
                                  PanelScratch(scratch, 1, group_count)};
  for (size_t i = 0; i < 2; ++i) {
    UnpackPanel(Reader(*output.weights, 2 * range.pair + i), group_count, panels[i]);
  }
  using Unpacked = UnpackedReader<Reader::kBits, Reader::kZero, Reader::kHasMin, Reader::kHalves>;
  const size_t row_count = range.row_end - range.row_begin;
  const size_t tile_count = (row_count + kTileRows - 1) / kTileRows * (2 / kTilePanels);
  LinesAhead ahead(*output.weights, range.pair, tile_count * group_count);
  const Unpacked readers[2] = {Unpacked(panels[0], ahead), Unpacked(panels[1], ahead)};
  RunRows(readers, input, output, range);
}

void UnpackedTile(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
                  std::byte* scratch) {
  switch (output.weights->dtype()) {
    case DType::kQ4_0:
      return UnpackAndRun<Q4_0Reader>(input, output, range, scratch);
    case DType::kQ4_1:
      return UnpackAndRun<Q4_1Reader>(input, output, range, scratch);
    case DType::kQ4_K:
      return UnpackAndRun<Q4KReader>(input, output, range, scratch);
    case DType::kQ5_0:
      return UnpackAndRun<Q5_0Reader>(input, output, range, scratch);
    case DType::kQ5_1:
      return UnpackAndRun<Q5_1Reader>(input, output, range, scratch);
    case DType::kQ5_K:
      return UnpackAndRun<Q5KReader>(input, output, range, scratch);
    case DType::kQ6_K:
      return UnpackAndRun<Q6KReader>(input, output, range, scratch);
    case DType::kQ8_0:
      return UnpackAndRun<Q8_0Reader>(input, output, range, scratch);
    default:
      KVASIR_CHECK(false && "not a quantised dtype");
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(UnpackedTile);

GemmTileFn UnpackedTileFn() { return HWY_DYNAMIC_DISPATCH(UnpackedTile); }

size_t UnpackedScratchBytes(size_t cols) {
  // Two panels of codes, two half-scales and a minimum for each group: a multiple of 64 bytes.
  return 2 * (cols / kGroupInputs) * (8 * 64 + 3 * kPanelRows * sizeof(float));
}

}  // namespace kvasir
#endif  // HWY_ONCE
