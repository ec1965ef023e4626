// What a shared object of attention variants exports, and how: `kvasir attention build` compiles
// the macros at the end into it (variant_source.h), LoadAttentionVariants reads the table
// (variant_library.h). Plain C structs:
//
//   KvasirAttentionVariants  -> AttentionVariantTable { marker, versions, count, variants }
//                                                                                  |
//   AttentionVariantDescriptor [count] { name, parameters, softmax by target }  <--+
//
// A change of these structs, of AttentionRow, SoftmaxSpan or what their fields mean raises
// kAttentionVariantAbi.

#ifndef KVASIR_ATTENTION_VARIANT_ABI_H_
#define KVASIR_ATTENTION_VARIANT_ABI_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kvasir/attention/variant.h"

namespace kvasir {

inline constexpr uint32_t kAttentionVariantAbi = 1;

// The exported symbol, and bytes by which a file is known before any of its code runs.
inline constexpr char kAttentionVariantSymbol[] = "KvasirAttentionVariants";
inline constexpr size_t kAttentionVariantMarkerBytes = 32;
#define KVASIR_ATTENTION_VARIANT_MARKER "Kvasir attention variants\n\x1A"

// One softmax step for each CpuTarget, in its order: portable, avx2, avx512.
inline constexpr size_t kAttentionVariantTargets = 3;

struct AttentionVariantDescriptor {
  const char* name;
  uint64_t params_bytes;      // 0: a struct without members
  uint64_t params_alignment;  // a power of two
  uint64_t use_softmax;       // 0 or 1
  // nullptr: not compiled for this target, the next lower one stands in; the first always is.
  AttentionSoftmaxFunction softmax[kAttentionVariantTargets];
};

struct AttentionVariantTable {
  char marker[kAttentionVariantMarkerBytes];
  uint32_t abi;
  uint32_t row_bytes;   // of AttentionRow
  uint32_t span_bytes;  // of SoftmaxSpan
  uint32_t count;
  const AttentionVariantDescriptor* variants;
};

}  // namespace kvasir

// For the generated source, inside namespace kvasir under HWY_ONCE.
#define KVASIR_DESCRIBE_ATTENTION_VARIANT(Name)                                             \
  {                                                                                         \
    .name = #Name,                                                                          \
    .params_bytes = std::is_empty_v<HWY_NAMESPACE::Name> ? 0 : sizeof(HWY_NAMESPACE::Name), \
    .params_alignment = alignof(HWY_NAMESPACE::Name),                                       \
    .use_softmax = HWY_NAMESPACE::UsesSoftmax<HWY_NAMESPACE::Name>(), .softmax = {          \
      HWY_STATIC_DISPATCH(Name##Softmax),                                                   \
      HWY_CHOOSE_AVX2(Name##Softmax),                                                       \
      HWY_CHOOSE_AVX3_DL(Name##Softmax)                                                     \
    }                                                                                       \
  }
#define KVASIR_EXPORT_ATTENTION_VARIANTS(descriptors)        \
  extern "C" __attribute__((visibility("default")))          \
  const AttentionVariantTable KvasirAttentionVariants;       \
  const AttentionVariantTable KvasirAttentionVariants = {    \
      .marker = KVASIR_ATTENTION_VARIANT_MARKER,             \
      .abi = kAttentionVariantAbi,                           \
      .row_bytes = sizeof(AttentionRow),                     \
      .span_bytes = sizeof(SoftmaxSpan),                     \
      .count = sizeof(descriptors) / sizeof(descriptors[0]), \
      .variants = descriptors,                               \
  };

#endif  // KVASIR_ATTENTION_VARIANT_ABI_H_
