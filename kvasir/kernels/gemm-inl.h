// The tile kernels of the GEMM. A tile is a few rows x one or two panels whose sums stay in
// registers while the inputs go by. What differs between weight formats is a Reader: where the
// codes and scales of a panel come from. Readers of packed panels unpack in registers;
// UnpackedReader reads what one of those has unpacked into scratch. Included once per target.

#if defined(KVASIR_KERNELS_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_KERNELS_GEMM_INL_H_
#undef KVASIR_KERNELS_GEMM_INL_H_
#else
#define KVASIR_KERNELS_GEMM_INL_H_
#endif

#include <algorithm>

#include "kvasir/kernels/dot_sum-inl.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/lanes-inl.h"
#include "kvasir/kernels/packed_weights.h"
#include "kvasir/kernels/weight_codes.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Registers decide the tile: AVX-512 has 32, so 6 rows x 2 panels = 12 integer and 12 float sums, 2
// codes and some to spare; each quad of codes serves 6 rows and each broadcast 2 panels. With the
// 16 of AVX2 (a panel takes two) 4 rows x 1 panel keep 8 integer sums, 2 codes and a broadcast in
// registers, and the float sums wait in L1 for the end of a group.
#if HWY_TARGET == HWY_AVX3_DL
constexpr size_t kTileRows = 6;
constexpr size_t kTilePanels = 2;
#else
constexpr size_t kTileRows = 4;
constexpr size_t kTilePanels = 1;
#endif

// Of a panel that is fetched ahead: 16 lines, some 200 ns of a core's share of the bandwidth, which
// is about what the prefetcher needs to take over.
constexpr size_t kPrefetchBytes = 1024;

// ---- Readers of quantised panels
// -----------------------------------------------------------------------------------
//
// kBits: of a code, as DotSum counts. kZero: what a code of zero value is (0, or 8 times a power of
// two). kHasMin: a minimum is added. kHalves: scales per group, 1 or 2.

// Codes of a packed panel (packed_weights.h): quad kQuad of the group at `codes`.
template <int kCodeBits, int kQuad>
HWY_INLINE Bytes64 UnpackQuad(const uint8_t* codes) {
  if constexpr (kCodeBits == 8) {
    const Bytes64 quad = LoadBytes(codes + 64 * kQuad);
    return kOffsetBytes ? XorBytes(quad, 0x80) : quad;
  } else {
    const Bytes64 unit = LoadBytes(codes + 64 * (kQuad % 4));
    const Bytes64 low = AndBytes(kQuad < 4 ? unit : ShiftWords<4>(unit), 0x0F);
    if constexpr (kCodeBits == 4) {
      return low;
    } else if constexpr (kCodeBits == 5) {
      // Bit kQuad of the fifth-bit unit moves to bit 4.
      return OrBytes(low, AndBytes(ShiftWords<kQuad - 4>(LoadBytes(codes + 256)), 0x10));
    } else {
      // Bits 2i and 2i + 1, i = kQuad % 4, move to bits 4 and 5.
      const Bytes64 high = LoadBytes(codes + 256 + 64 * (kQuad / 4));
      return OrBytes(low, AndBytes(ShiftWords<2 * (kQuad % 4) - 4>(high), 0x30));
    }
  }
}

// Q4_0, Q5_0, Q8_0 (zero point) and Q4_1, Q5_1 (minimum): a scale per group.
template <int kCodeBits, int kZeroPoint, bool kWithMin>
class GroupReader {
 public:
  static constexpr int kBits = kCodeBits, kZero = kZeroPoint, kHalves = 1;
  static constexpr bool kHasMin = kWithMin;
  GroupReader(const PackedWeights& weights, size_t panel)
      : codes_(reinterpret_cast<const uint8_t*>(weights.codes(panel))),
        scales_(weights.scales(panel)),
        mins_(weights.mins(panel)) {}
  template <int kQuad>
  HWY_INLINE Bytes64 Quad(size_t g) const {
    return UnpackQuad<kCodeBits, kQuad>(codes_ + g * 64 * kCodeBits);
  }
  HWY_INLINE FloatLanes Scale(size_t g, size_t) const {
    return LoadF16Lanes(scales_ + g * kPanelRows);
  }
  HWY_INLINE FloatLanes Min(size_t g) const { return LoadF16Lanes(mins_ + g * kPanelRows); }

 private:
  const uint8_t* codes_;
  const uint16_t* scales_;
  const uint16_t* mins_;
};

// Q4_K, Q5_K: super-blocks of 8 groups with 6-bit group scales and minimums.
template <int kCodeBits>
class SuperReader {
 public:
  static constexpr int kBits = kCodeBits, kZero = 0, kHalves = 1;
  static constexpr bool kHasMin = true;
  SuperReader(const PackedWeights& weights, size_t panel)
      : codes_(reinterpret_cast<const uint8_t*>(weights.codes(panel))),
        scales_(weights.scales(panel)),
        mins_(weights.mins(panel)),
        sub_scales_(weights.sub_scales(panel)),
        sub_mins_(weights.sub_mins(panel)) {}
  template <int kQuad>
  HWY_INLINE Bytes64 Quad(size_t g) const {
    return UnpackQuad<kCodeBits, kQuad>(codes_ + g * 64 * kCodeBits);
  }
  HWY_INLINE FloatLanes Scale(size_t g, size_t) const {
    return Mul(LoadF16Lanes(scales_ + g / 8 * kPanelRows),
               LoadByteLanes(sub_scales_ + g * kPanelRows));
  }
  HWY_INLINE FloatLanes Min(size_t g) const {
    const FloatLanes min =
        Mul(LoadF16Lanes(mins_ + g / 8 * kPanelRows), LoadByteLanes(sub_mins_ + g * kPanelRows));
    return Sub(ZeroLanes(), min);
  }

 private:
  const uint8_t* codes_;
  const uint16_t* scales_;
  const uint16_t* mins_;
  const uint8_t* sub_scales_;
  const uint8_t* sub_mins_;
};

// Q6_K: super-blocks of 16 half groups with signed scales.
class Q6KReader {
 public:
  static constexpr int kBits = 6, kZero = 32, kHalves = 2;
  static constexpr bool kHasMin = false;
  Q6KReader(const PackedWeights& weights, size_t panel)
      : codes_(reinterpret_cast<const uint8_t*>(weights.codes(panel))),
        scales_(weights.scales(panel)),
        sub_scales_(reinterpret_cast<const int8_t*>(weights.sub_scales(panel))) {}
  template <int kQuad>
  HWY_INLINE Bytes64 Quad(size_t g) const {
    return UnpackQuad<6, kQuad>(codes_ + g * 64 * 6);
  }
  HWY_INLINE FloatLanes Scale(size_t g, size_t half) const {
    return Mul(LoadF16Lanes(scales_ + g / 8 * kPanelRows),
               LoadByteLanes(sub_scales_ + (2 * g + half) * kPanelRows));
  }
  HWY_INLINE FloatLanes Min(size_t) const { return ZeroLanes(); }

 private:
  const uint8_t* codes_;
  const uint16_t* scales_;
  const int8_t* sub_scales_;
};

using Q4_0Reader = GroupReader<4, 8, false>;
using Q4_1Reader = GroupReader<4, 0, true>;
using Q5_0Reader = GroupReader<5, 16, false>;
using Q5_1Reader = GroupReader<5, 0, true>;
using Q8_0Reader = GroupReader<8, kOffsetBytes ? 128 : 0, false>;
using Q4KReader = SuperReader<4>;
using Q5KReader = SuperReader<5>;

// ---- The quantised tile
// --------------------------------------------------------------------------------------------

template <typename Reader, int kQuad, size_t kRows, size_t kPanels>
HWY_INLINE void AddQuad(const Reader* readers, const int8_t* activations, size_t stride, size_t g,
                        DotSum<Reader::kBits> (&dots)[kRows][kPanels]) {
  Bytes64 codes[kPanels];
#pragma GCC unroll 2
  for (size_t p = 0; p < kPanels; ++p) codes[p] = readers[p].template Quad<kQuad>(g);
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
    const Bytes64 quad = BroadcastQuad(activations + r * stride + g * kGroupInputs + 4 * kQuad);
#pragma GCC unroll 2
    for (size_t p = 0; p < kPanels; ++p) {
      dots[r][p].template Add<kQuad % (8 / Reader::kHalves)>(codes[p], quad);
    }
  }
}

// -kZero * sum of the activations that a dot product covers.
template <typename Reader>
HWY_INLINE IntLanes DotStart(const ActivationGroup& group, size_t half) {
  if constexpr (Reader::kZero == 0) {
    return ZeroInt();
  } else {
    const int32_t neg8 = Reader::kHalves == 1 ? group.neg8_sum
                         : half == 0          ? group.neg8_sum_low
                                              : group.neg8_sum - group.neg8_sum_low;
    return SetInt(neg8 * (Reader::kZero / 8));
  }
}

// Adds half `kHalf` (all quads when the reader has one) of group g to the sums.
template <typename Reader, int kHalf, size_t kRows, size_t kPanels>
HWY_INLINE void AddHalf(const Reader* readers, const QuantizedRows& rows, size_t row, size_t g,
                        FloatLanes (&sums)[kRows][kPanels]) {
  DotSum<Reader::kBits> dots[kRows][kPanels];
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
    const IntLanes start = DotStart<Reader>(rows.groups(row + r)[g], kHalf);
#pragma GCC unroll 2
    for (size_t p = 0; p < kPanels; ++p) dots[r][p].Start(start);
  }
  const int8_t* activations = rows.codes(row);
  constexpr int kFirst = 4 * kHalf;
  AddQuad<Reader, kFirst + 0>(readers, activations, rows.cols(), g, dots);
  AddQuad<Reader, kFirst + 1>(readers, activations, rows.cols(), g, dots);
  AddQuad<Reader, kFirst + 2>(readers, activations, rows.cols(), g, dots);
  AddQuad<Reader, kFirst + 3>(readers, activations, rows.cols(), g, dots);
  if constexpr (Reader::kHalves == 1) {
    AddQuad<Reader, 4>(readers, activations, rows.cols(), g, dots);
    AddQuad<Reader, 5>(readers, activations, rows.cols(), g, dots);
    AddQuad<Reader, 6>(readers, activations, rows.cols(), g, dots);
    AddQuad<Reader, 7>(readers, activations, rows.cols(), g, dots);
  }
#pragma GCC unroll 2
  for (size_t p = 0; p < kPanels; ++p) {
    const FloatLanes scale = readers[p].Scale(g, kHalf);
#pragma GCC unroll 8
    for (size_t r = 0; r < kRows; ++r) {
      const FloatLanes row_scale = SetLanes(rows.groups(row + r)[g].scale);
      sums[r][p] = MulAdd(ToFloat(dots[r][p].Sum()), Mul(scale, row_scale), sums[r][p]);
    }
    if constexpr (Reader::kHasMin) {
      const FloatLanes min = readers[p].Min(g);
#pragma GCC unroll 8
      for (size_t r = 0; r < kRows; ++r) {
        sums[r][p] = MulAdd(min, SetLanes(rows.groups(row + r)[g].scaled_sum), sums[r][p]);
      }
    }
  }
}

template <typename Reader, size_t kRows, size_t kPanels>
HWY_INLINE void QuantizedTile(const Reader* readers, const QuantizedRows& rows, size_t row,
                              FloatLanes (&sums)[kRows][kPanels]) {
  const size_t group_count = rows.cols() / kGroupInputs;
  for (size_t g = 0; g < group_count; ++g) {
    if constexpr (requires { readers[0].FetchAhead(); }) readers[0].FetchAhead();
    AddHalf<Reader, 0>(readers, rows, row, g, sums);
    if constexpr (Reader::kHalves == 2) AddHalf<Reader, 1>(readers, rows, row, g, sums);
  }
}

// ---- The plain tile
// ------------------------------------------------------------------------------------------------

struct F32Panel {
  static constexpr size_t kStep = 1;  // inputs per Load
  explicit F32Panel(const PackedWeights& w, size_t p)
      : at(reinterpret_cast<const float*>(w.codes(p))) {}
  HWY_INLINE void Load(size_t k, FloatLanes* inputs) const {
    inputs[0] = LoadLanes(at + k * kPanelRows);
  }
  const float* at;
};
struct F16Panel {
  static constexpr size_t kStep = 1;
  explicit F16Panel(const PackedWeights& w, size_t p)
      : at(reinterpret_cast<const uint16_t*>(w.codes(p))) {}
  HWY_INLINE void Load(size_t k, FloatLanes* inputs) const {
    inputs[0] = LoadF16Lanes(at + k * kPanelRows);
  }
  const uint16_t* at;
};
struct BF16Panel {
  static constexpr size_t kStep = 2;
  explicit BF16Panel(const PackedWeights& w, size_t p)
      : at(reinterpret_cast<const uint16_t*>(w.codes(p))) {}
  HWY_INLINE void Load(size_t k, FloatLanes* inputs) const {
    LoadBF16Pairs(at + k * kPanelRows, &inputs[0], &inputs[1]);
  }
  const uint16_t* at;
};

template <typename Panel, size_t kRows, size_t kPanels>
HWY_INLINE void PlainTile(const Panel* panels, MatrixView<const float> rows, size_t row,
                          FloatLanes (&sums)[kRows][kPanels]) {
  const float* x = rows.data() + row * rows.stride();
  const size_t cols = rows.cols(), stride = rows.stride();
  size_t k = 0;
  for (; k + Panel::kStep <= cols; k += Panel::kStep) {
    FloatLanes weights[kPanels][Panel::kStep];
#pragma GCC unroll 2
    for (size_t p = 0; p < kPanels; ++p) panels[p].Load(k, weights[p]);
#pragma GCC unroll 2
    for (size_t step = 0; step < Panel::kStep; ++step) {
#pragma GCC unroll 8
      for (size_t r = 0; r < kRows; ++r) {
        const FloatLanes input = SetLanes(x[r * stride + k + step]);
#pragma GCC unroll 2
        for (size_t p = 0; p < kPanels; ++p) {
          sums[r][p] = MulAdd(weights[p][step], input, sums[r][p]);
        }
      }
    }
  }
  if (k == cols) return;
  // The odd last input of a paired format.
  for (size_t p = 0; p < kPanels; ++p) {
    FloatLanes weights[Panel::kStep];
    panels[p].Load(k, weights);
    for (size_t r = 0; r < kRows; ++r) {
      sums[r][p] = MulAdd(weights[0], SetLanes(x[r * stride + k]), sums[r][p]);
    }
  }
}

// ---- Tiles -> output
// -----------------------------------------------------------------------------------------------

HWY_INLINE void StoreSums(const FloatLanes& sums, const GemmOutput& output, size_t row, size_t n) {
  float* out = output.out.row(row) + n;
  const size_t outputs = output.weights->rows();
  if (n + kPanelRows <= outputs) {
    FloatLanes value = sums;
    if (output.bias != nullptr) value = Add(value, LoadLanes(output.bias + n));
    if (output.accumulate) value = Add(LoadLanes(out), value);
    StoreLanes(value, out);
    return;
  }
  alignas(64) float value[kPanelRows];
  StoreLanes(sums, value);
  for (size_t i = 0; n + i < outputs; ++i) {
    if (output.bias != nullptr) value[i] += output.bias[n + i];
    out[i] = output.accumulate ? out[i] + value[i] : value[i];
  }
}

// A panel of plain weights says how many inputs it loads at a time; a quantised reader does not.
template <typename Reader>
HWY_INLINE void RunTile(const Reader* readers, const GemmInput& in, size_t row, auto& sums) {
  if constexpr (requires { Reader::kStep; }) {
    PlainTile(readers, in.plain, row, sums);
  } else {
    QuantizedTile(readers, *in.quantized, row, sums);
  }
}

// Not inlined: one loop nest per function keeps the register allocator's view small.
template <size_t kRows, size_t kPanels, typename Reader>
HWY_NOINLINE void TileAndStore(const Reader* readers, const GemmInput& input,
                               const GemmOutput& output, size_t row, size_t n) {
  // The output lines are on their way while the sums are made.
  for (size_t r = 0; r < kRows; ++r) {
    const float* out = output.out.row(output.paired ? (row + r) / 2 : row + r) + n;
    for (size_t p = 0; p < kPanels; ++p) __builtin_prefetch(out + p * kPanelRows, /*rw=*/1);
  }
  FloatLanes sums[kRows][kPanels];
  for (auto& row_sums : sums) {
    for (FloatLanes& s : row_sums) s = ZeroLanes();
  }
  RunTile(readers, input, row, sums);
  // Tiles begin at even rows: see kTileRows and the row blocks of gemm.cc.
  const size_t step = output.paired ? 2 : 1;
  for (size_t r = 0; r + step <= kRows; r += step) {
    for (size_t p = 0; p < kPanels; ++p) {
      const size_t first = n + p * kPanelRows;
      if (first >= output.weights->rows()) continue;
      if constexpr (kRows > 1) {
        if (output.paired) sums[r][p] = Add(sums[r][p], sums[r + 1][p]);
      }
      StoreSums(sums[r][p], output, (row + r) / step, first);
    }
  }
}

// All rows of `range` over the pair of panels that `readers` read, n = its first output.
template <typename Reader>
HWY_INLINE void RunRows(const Reader (&readers)[2], const GemmInput& input,
                        const GemmOutput& output, const GemmTileRange& range) {
  for (size_t first = 0; first < 2; first += kTilePanels) {
    const Reader* tile_readers = readers + first;
    const size_t n = (2 * range.pair + first) * kPanelRows;
    size_t row = range.row_begin;
    for (; row + kTileRows <= range.row_end; row += kTileRows) {
      TileAndStore<kTileRows, kTilePanels>(tile_readers, input, output, row, n);
    }
    switch (range.row_end - row) {
      case 1:
        TileAndStore<1, kTilePanels>(tile_readers, input, output, row, n);
        break;
      case 2:
        TileAndStore<2, kTilePanels>(tile_readers, input, output, row, n);
        break;
      case 3:
        TileAndStore<3, kTilePanels>(tile_readers, input, output, row, n);
        break;
#if HWY_TARGET == HWY_AVX3_DL
      case 4:
        TileAndStore<4, kTilePanels>(tile_readers, input, output, row, n);
        break;
      case 5:
        TileAndStore<5, kTilePanels>(tile_readers, input, output, row, n);
        break;
#endif
      default:
        break;
    }
  }
}

// Asks for the beginning of a pair of panels. With one row a panel of a small matrix lasts half a
// microsecond, and the hardware's prefetcher, which follows a run of lines, has to start anew at
// each: without this the first lines of every panel come at the full latency of the memory.
HWY_INLINE void PrefetchPair(const PackedWeights& weights, size_t pair) {
  if (2 * pair >= weights.panel_count()) return;
  for (size_t panel = 2 * pair; panel < 2 * pair + 2; ++panel) {
    const std::byte* codes = weights.codes(panel);
    for (size_t i = 0; i < kPrefetchBytes; i += 64) __builtin_prefetch(codes + i);
    if (weights.quantized()) __builtin_prefetch(weights.scales(panel));
    if (weights.mins(panel) != nullptr) __builtin_prefetch(weights.mins(panel));
  }
}

template <typename Reader>
HWY_INLINE void RunPair(const GemmInput& input, const GemmOutput& output,
                        const GemmTileRange& range) {
  PrefetchPair(*output.weights, range.pair + 1);
  const Reader readers[2] = {Reader(*output.weights, 2 * range.pair),
                             Reader(*output.weights, 2 * range.pair + 1)};
  RunRows(readers, input, output, range);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
