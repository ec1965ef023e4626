// Integer products of the quantised KV tiles: sixteen lanes of four int8 codes each ("a quad": four
// dims of sixteen tokens of K, or four tokens of sixteen dims of V) with the int16 numbers of query
// rows or of weights. Included once per target.
//
// A quad is widened to int16 in registers, numbers 0 and 2 in one register and 1 and 3 in another
// (two shifts and one), and a pair of products is summed in 32 bits in one step: vpdpwssd with
// AVX-512 VNNI, vpmaddwd and vpaddd elsewhere. Sixteen bits, not eight, for what meets the codes:
// vpmaddubsw would cost AVX2 as many steps a number (its operands' signs must be moved and its sums
// widened), so that the 7 or 8 bits more of queries and weights are free there; docs/decisions/0020
// has what they cost elsewhere. Integer sums have no order, so all targets give the same ones.

#if defined(KVASIR_ATTENTION_QUAD_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_QUAD_CODES_INL_H_
#undef KVASIR_ATTENTION_QUAD_CODES_INL_H_
#else
#define KVASIR_ATTENTION_QUAD_CODES_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kvasir/attention/code_rows-inl.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

using IntVec = hn::Vec<IntTag>;

// sum + a0 b0 + a1 b1 in each 32-bit lane.
HWY_INLINE IntVec AddPairProducts(WordVec a, WordVec b, IntVec sum) {
#if HWY_TARGET == HWY_AVX3_DL
  // Spelt out as in dot_sum-inl.h.
  __asm__("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
  return sum;
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(sum, IntVec{_mm256_madd_epi16(a.raw, b.raw)});
#else
  return hn::Add(sum, IntVec{_mm_madd_epi16(a.raw, b.raw)});
#endif
}

// The quads of one register, widened.
struct QuadWords {
  WordVec even;  // numbers 0 and 2 of each
  WordVec odd;   // 1 and 3
};

HWY_INLINE QuadWords WidenQuads(hn::Vec<ByteTag> codes) {
  const WordVec words = hn::BitCast(WordTag(), codes);
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(words)), hn::ShiftRight<8>(words)};
}

// How the codes of a tile lie. `at` is where a register of sixteen quads begins, of which Load
// gives part `part`; kBytes is from one to the next. The registers of K are counted [half][quad],
// those of V [quad][lane block], in which two of int4 share one: `nibble` says which.
struct Int8Codes {
  static constexpr bool kIsInt4 = false;
  static constexpr bool kPrefetch = true;
  static constexpr size_t kBytes = 64;
  HWY_INLINE static QuadWords Load(const uint8_t* at, size_t part, int) {
    return WidenQuads(hn::LoadU(ByteTag(), at + part * kPartLanes * 4));
  }
};
struct Int4Codes {
  static constexpr bool kIsInt4 = true;
  static constexpr bool kPrefetch = true;
  static constexpr size_t kBytes = 64;
  HWY_INLINE static QuadWords Load(const uint8_t* at, size_t part, int nibble) {
    const auto bytes = hn::LoadU(ByteTag(), at + part * kPartLanes * 4);
    const auto words = hn::BitCast(hn::Repartition<uint16_t, FloatTag>(), bytes);
    const auto shifted = nibble == 0 ? bytes : hn::BitCast(ByteTag(), hn::ShiftRight<4>(words));
    const auto index = hn::And(shifted, hn::Set(ByteTag(), uint8_t{0x0F}));
    const auto codebook =
        hn::LoadDup128(ByteTag(), reinterpret_cast<const uint8_t*>(kKvInt4Levels));
    return WidenQuads(hn::TableLookupBytes(codebook, index));
  }
};
// Widened before, into scratch memory: all even numbers of a register, then all odd ones.
struct WideCodes {
  static constexpr bool kIsInt4 = false;
  static constexpr bool kPrefetch = false;
  static constexpr size_t kBytes = 128;
  HWY_INLINE static QuadWords Load(const uint8_t* at, size_t part, int) {
    const int16_t* words = reinterpret_cast<const int16_t*>(at) + part * kPartLanes * 2;
    return {hn::LoadU(WordTag(), words), hn::LoadU(WordTag(), words + 2 * kLaneCount)};
  }
};

// Registers for sums: the codebook and a mask take room of their own.
template <class Codes>
constexpr size_t SumsMax() {
  return Codes::kIsInt4 ? AccumulatorsMax<KvFormat::kBF16>() : AccumulatorsMax<KvFormat::kF32>();
}

// Adds one quad of kVectors registers, each `step` bytes behind the last, to the sums of kRows
// rows, whose numbers for it begin at x, a chunk from row to row (code_rows-inl.h). Nibble of
// register v: nibble + v * nibble_step. `ahead` bytes further lies what will be wanted later.
template <class Codes, int kRows, int kVectors>
HWY_INLINE void AddQuad(const uint8_t* at, size_t step, ptrdiff_t ahead, int nibble,
                        int nibble_step, const int16_t* x, IntLanes (&sums)[kRows][kVectors]) {
  HWY_UNROLL(4)
  for (int v = 0; v < kVectors; ++v) {
    const uint8_t* from = at + size_t(v) * step;
    const int half = nibble + v * nibble_step;
    if (Codes::kPrefetch && (!Codes::kIsInt4 || half == 0)) __builtin_prefetch(from + ahead, 0, 2);
    KVASIR_FOR_PARTS(part) {
      const QuadWords codes = Codes::Load(from, part, half);
      const int16_t* numbers = x;
      // With 16 registers the sums take 12. A compiler that knows that every part meets the same
      // numbers keeps those in registers and the sums in memory, at twice the time.
      if (kParts > 1) __asm__ volatile("" : "+r"(numbers));
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        int32_t even, odd;
        std::memcpy(&even, numbers + size_t(r) * kCodeChunkNumbers, sizeof(even));
        std::memcpy(&odd, numbers + size_t(r) * kCodeChunkNumbers + 2, sizeof(odd));
        auto sum = sums[r][v].part[part];
        sum = AddPairProducts(codes.even, hn::BitCast(WordTag(), hn::Set(IntTag(), even)), sum);
        sum = AddPairProducts(codes.odd, hn::BitCast(WordTag(), hn::Set(IntTag(), odd)), sum);
        sums[r][v].part[part] = sum;
      }
    }
  }
}

// One register of codes as a register of WideCodes.
template <class Codes>
HWY_INLINE void WidenRegister(const uint8_t* from, int nibble, uint8_t* to) {
  KVASIR_FOR_PARTS(part) {
    const QuadWords words = Codes::Load(from, part, nibble);
    int16_t* at = reinterpret_cast<int16_t*>(to) + part * kPartLanes * 2;
    hn::StoreU(words.even, WordTag(), at);
    hn::StoreU(words.odd, WordTag(), at + 2 * kLaneCount);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
