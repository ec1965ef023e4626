// Activation-aware scaling (AWQ; Lin et al. 2023, arXiv 2306.00978): channels that carry large
// inputs are multiplied before rounding and divided again in what produces them, so that they lose
// less. The scales of the channels of one input, shared by all matrices that read it, are
// mean|x|^a, with the a of 20 in [0, 1] that changes the outputs least. a = 0 is plain rounding:
// the search never ends with more error than that on its own inputs. Pure; the thread that owns
// the pool.

#ifndef KVASIR_QUANTIZE_SCALE_SEARCH_H_
#define KVASIR_QUANTIZE_SCALE_SEARCH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/quantize/input_statistics.h"
#include "kvasir/quantize/output_error.h"

namespace kvasir {

struct ScaledMatrix {
  MatrixView<const float> weights;  // [outputs, channels]
  DType dtype = DType::kF32;        // that it will have
};

// Channel c of the input is produced by channel owner[c] of what comes before, for example a value
// head that several query heads read, and shares its scale. Empty: each its own.
struct ChannelOwners {
  std::vector<uint32_t> owner;  // [channels]
  size_t count = 0;             // of owners
};

// The factor of each channel of the weights, [owners.count or channels]. All ones when nothing is
// gained, or no matrix is quantised.
std::vector<float> SearchScales(std::span<const ScaledMatrix> matrices,
                                const InputStatistics& statistics, const OutputError& error,
                                const ChannelOwners& owners, ThreadPool& pool);

// `weights` rounded to `dtype` and back; the two may be the same memory.
void RoundTrip(MatrixView<const float> weights, DType dtype, ThreadPool& pool,
               MatrixView<float> rounded);

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_SCALE_SEARCH_H_
