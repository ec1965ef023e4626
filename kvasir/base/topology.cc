#include "kvasir/base/topology.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

namespace kvasir {

namespace {

std::optional<double> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  double value;
  if (file >> value) return value;
  return std::nullopt;
}

// The directory of this process's cgroup v2, e.g. "/sys/fs/cgroup/system.slice/x"; the root when it
// cannot be told.
std::string CgroupV2Dir() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) == 0)
      return "/sys/fs/cgroup" + (line.substr(3) == "/" ? "" : line.substr(3));
  }
  return "/sys/fs/cgroup";
}

std::optional<double> CgroupCoreQuota() {
  std::ifstream v2(CgroupV2Dir() + "/cpu.max");
  std::string quota;
  double period;
  if (v2 >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
  const auto quota_us = ReadNumber("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  const auto period_us = ReadNumber("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (quota_us && period_us && *quota_us > 0 && *period_us > 0) return *quota_us / *period_us;
  return std::nullopt;
}

// What is left of the cgroup's memory limit.
std::optional<double> CgroupMemoryLeft() {
  const std::string dir = CgroupV2Dir();
  auto limit = ReadNumber(dir + "/memory.max");  // "max" reads as no number
  auto used = ReadNumber(dir + "/memory.current");
  if (!limit) {
    limit = ReadNumber("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    used = ReadNumber("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  }
  if (limit && used) return std::max(0.0, *limit - *used);
  return std::nullopt;
}

// The value after `key` in a "key: value" file of /proc.
std::optional<std::string> ProcField(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return std::nullopt;
}

}  // namespace

size_t UsableCoreCount() {
  cpu_set_t set;
  CPU_ZERO(&set);
  long cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                            : sysconf(_SC_NPROCESSORS_ONLN);
  if (const auto quota = CgroupCoreQuota())
    cores = std::min(cores, static_cast<long>(std::ceil(*quota)));
  return static_cast<size_t>(std::max(1L, cores));
}

size_t AvailableMemoryBytes() {
  double bytes = std::numeric_limits<double>::max();
  if (const auto field = ProcField("/proc/meminfo", "MemAvailable"))
    bytes = std::stod(*field) * 1024;
  if (const auto left = CgroupMemoryLeft()) bytes = std::min(bytes, *left);
  return bytes > 1e18 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(bytes);
}

size_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  size_t total_pages = 0, resident_pages = 0;
  if (!(file >> total_pages >> resident_pages)) return 0;
  return resident_pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t LastLevelCacheBytes() {
  // "32768K". Levels 2 and 3 are index2 and index3; there may be no third.
  for (const char* index : {"index3", "index2"}) {
    const auto kilobytes =
        ReadNumber(std::string("/sys/devices/system/cpu/cpu0/cache/") + index + "/size");
    if (kilobytes && *kilobytes > 0) return size_t(*kilobytes) * 1024;
  }
  return 0;
}

std::string CpuModelName() {
  return ProcField("/proc/cpuinfo", "model name").value_or("unknown CPU");
}

}  // namespace kvasir
