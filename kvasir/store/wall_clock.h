// The wall clock of stores: milliseconds since 1970, for times that outlive the process, like the
// expiry of a record. A function, so that tests can turn it; any thread.

#ifndef KVASIR_STORE_WALL_CLOCK_H_
#define KVASIR_STORE_WALL_CLOCK_H_

#include <chrono>
#include <cstdint>
#include <functional>

namespace kvasir {

using UnixClock = std::function<int64_t()>;

inline int64_t UnixMilliseconds() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace kvasir

#endif  // KVASIR_STORE_WALL_CLOCK_H_
