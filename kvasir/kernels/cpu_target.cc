#include "kvasir/kernels/cpu_target.h"

#include <cstdlib>

#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"
// Must come after the choice of targets.
#include <hwy/highway.h>
#include <hwy/targets.h>

namespace kvasir {

namespace {

constexpr CpuTarget kAllTargets[] = {CpuTarget::kPortable, CpuTarget::kAvx2, CpuTarget::kAvx512};

int64_t HighwayTarget(CpuTarget target) {
  switch (target) {
    case CpuTarget::kAvx512:
      return HWY_AVX3_DL;
    case CpuTarget::kAvx2:
      return HWY_AVX2;
    case CpuTarget::kPortable:
      return HWY_STATIC_TARGET;
  }
  return HWY_STATIC_TARGET;
}

// What was asked for; only consulted to restore a choice.
bool g_forced = false;
CpuTarget g_forced_target = CpuTarget::kPortable;

bool IsSupported(CpuTarget target) {
  for (const CpuTarget supported : SupportedCpuTargets()) {
    if (supported == target) return true;
  }
  return false;
}

void Force(bool forced, CpuTarget target) {
  g_forced = forced;
  g_forced_target = target;
  // 0 goes back to what CPUID says. The baseline is always among the supported ones, so name it
  // beside the forced one.
  hwy::SetSupportedTargetsForTest(forced ? (HighwayTarget(target) | HWY_STATIC_TARGET) : 0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace

std::string_view CpuTargetName(CpuTarget target) {
  switch (target) {
    case CpuTarget::kPortable:
      return "portable";
    case CpuTarget::kAvx2:
      return "avx2";
    case CpuTarget::kAvx512:
      return "avx512";
  }
  return "unknown";
}

std::vector<CpuTarget> SupportedCpuTargets() {
  static const std::vector<CpuTarget> supported = [] {
    hwy::SetSupportedTargetsForTest(0);
    const int64_t cpu = hwy::SupportedTargets();
    std::vector<CpuTarget> targets;
    for (const CpuTarget target : kAllTargets) {
      const int64_t bit = HighwayTarget(target);
      if (target == CpuTarget::kPortable || ((cpu & bit) != 0 && (HWY_TARGETS & bit) != 0)) {
        targets.push_back(target);
      }
    }
    return targets;
  }();
  return supported;
}

CpuTarget ActiveCpuTarget() { return g_forced ? g_forced_target : SupportedCpuTargets().back(); }

Status ForceCpuTarget(std::string_view name) {
  if (name == "auto") {
    Force(false, CpuTarget::kPortable);
    return OkStatus();
  }
  std::string supported;
  for (const CpuTarget target : SupportedCpuTargets()) {
    if (CpuTargetName(target) == name) {
      Force(true, target);
      return OkStatus();
    }
    supported += std::string(supported.empty() ? "" : ", ") + std::string(CpuTargetName(target));
  }
  return InvalidArgument("instruction set \"" + std::string(name) +
                         "\" is unknown or not supported by this CPU, which can run auto, " +
                         supported);
}

Status ForceCpuTargetFromEnvironment() {
  const char* name = std::getenv("KVASIR_TARGET");
  if (name == nullptr || *name == '\0') return OkStatus();
  return ForceCpuTarget(name).WithContext("KVASIR_TARGET");
}

ScopedCpuTarget::ScopedCpuTarget(CpuTarget target)
    : previous_forced_(g_forced), previous_(g_forced_target) {
  KVASIR_CHECK(IsSupported(target));
  Force(true, target);
}

ScopedCpuTarget::~ScopedCpuTarget() { Force(previous_forced_, previous_); }

std::string_view NumericsClass(CpuTarget target) {
  return target == CpuTarget::kPortable ? "sse-16" : "fma-16";
}

}  // namespace kvasir
