// Peaks: what this machine can do at best, measured in the same process and with the same threads
// as the kernels that are compared with it. The yardstick of every speed claim that names a share.

#ifndef KVASIR_KERNELS_PEAKS_H_
#define KVASIR_KERNELS_PEAKS_H_

#include "kvasir/base/thread_pool.h"

namespace kvasir {

struct Peaks {
  double int4_gops =
      0;  // 10^9 multiplies and adds a second of 4-bit codes with int8 activations, from registers
  double int8_gops = 0;    // the same of 8-bit codes
  double f32_gflops = 0;   // 10^9 multiplies and adds a second of f32, from registers
  double read_gbytes = 0;  // 10^9 bytes a second read from memory (a buffer of 512 MiB)
};

// Measures on all threads of `pool` with the target in force; takes about a second. Each figure is
// the best of five.
Peaks MeasurePeaks(ThreadPool& pool);

// Median cost in microseconds of ThreadPool::Run with an empty job.
double MeasureBarrierMicros(ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_PEAKS_H_
