// Which targets Highway compiles: the baseline (x86-64 with SSSE3, see CMakeLists.txt; "portable"),
// AVX2, and AVX3_DL (AVX-512 with VNNI, Ice Lake and Zen 4 onwards). Everything between and beyond
// is left out: each further target costs build time for every kernel, and CPUs that lack the next
// step run the one below at little loss. Include this before hwy/foreach_target.h and
// hwy/highway.h, in every file that has kernels.

#ifndef KVASIR_KERNELS_HIGHWAY_TARGETS_H_
#define KVASIR_KERNELS_HIGHWAY_TARGETS_H_

#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS (HWY_SSE4 | HWY_AVX3 | KVASIR_NEWER_HIGHWAY_TARGETS)
#include <hwy/detect_targets.h>

// Targets that later versions of Highway have added. (In #if, where the macro above is first used,
// an unknown name is 0.)
#if defined(HWY_AVX3_ZEN4) && defined(HWY_AVX3_SPR)
#define KVASIR_NEWER_HIGHWAY_TARGETS (HWY_AVX3_ZEN4 | HWY_AVX3_SPR)
#else
#define KVASIR_NEWER_HIGHWAY_TARGETS 0
#endif

#endif  // KVASIR_KERNELS_HIGHWAY_TARGETS_H_
