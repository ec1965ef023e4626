// CpuTarget: which instruction set the kernels use. Every vector kernel is compiled for each target
// and chosen once per call through Highway's dispatch; this file names, lists and forces the
// choice. Force before the first kernel runs (program start or the set-up of a test), from one
// thread.

#ifndef KVASIR_KERNELS_CPU_TARGET_H_
#define KVASIR_KERNELS_CPU_TARGET_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

// In rising order of preference. kAvx512 needs VNNI and the Ice Lake set (Highway's AVX3_DL); older
// AVX-512 machines run kAvx2, which gives the same bits.
enum class CpuTarget : uint8_t { kPortable, kAvx2, kAvx512 };

std::string_view CpuTargetName(CpuTarget target);  // "portable", "avx2", "avx512"

// What this CPU can run, best last. Never empty.
std::vector<CpuTarget> SupportedCpuTargets();

// The target in force: the best supported one, or the forced one.
CpuTarget ActiveCpuTarget();

// Forces `name`; "auto" goes back to the best. kInvalidArgument for an unknown name or one that
// this CPU cannot run.
Status ForceCpuTarget(std::string_view name);

// Forces what the environment variable KVASIR_TARGET says, if it is set and not empty.
Status ForceCpuTargetFromEnvironment();

// Runs the rest of a scope on `target`, then goes back to what was forced before. For tests.
// REQUIRES a supported target.
class ScopedCpuTarget {
 public:
  explicit ScopedCpuTarget(CpuTarget target);
  ~ScopedCpuTarget();

 private:
  bool previous_forced_;
  CpuTarget previous_;
};

// Two targets of the same class give bit-identical results; the class is part of a cache's
// fingerprint. "fma-16" for AVX2 and AVX-512, "sse-16" for the portable target, which has no fused
// multiply-add.
std::string_view NumericsClass(CpuTarget target);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_CPU_TARGET_H_
