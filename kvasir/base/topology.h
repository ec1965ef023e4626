// What this process may use of the machine: cores after affinity and cgroup limits, memory after
// cgroup limits.

#ifndef KVASIR_BASE_TOPOLOGY_H_
#define KVASIR_BASE_TOPOLOGY_H_

#include <cstddef>
#include <string>

namespace kvasir {

// Cores that this process may run on: the smaller of its affinity mask and its cgroup v2 or v1 CPU
// quota, rounded up. At least 1.
size_t UsableCoreCount();

// Bytes that a new allocation can count on: MemAvailable, or what is left of a cgroup limit when
// that is less.
size_t AvailableMemoryBytes();

// Resident set of this process in bytes, 0 when /proc cannot be read.
size_t ResidentBytes();

// Bytes of the last-level cache that the first core sees, 0 when the kernel does not say. (sysconf
// asks the CPU instead, which in a virtual machine may speak of the whole host.)
size_t LastLevelCacheBytes();

// "AMD EPYC 9B45", from /proc/cpuinfo; "unknown CPU" when it does not say.
std::string CpuModelName();

}  // namespace kvasir

#endif  // KVASIR_BASE_TOPOLOGY_H_
