// Hadamard rotation of the heads of queries, keys and values. Rotated by the same orthogonal
// matrix, queries and keys have the same scores, and values mixed by any weights come back by the
// inverse; but a few large dimensions are spread over all, so that the rotated numbers lose less in
// few bits (formats/kv_codec.h). The matrix is H / sqrt(n), H[i][j] = (-1)^popcount(i & j),
// symmetric and its own inverse, on aligned parts of n dims each: n is the largest power of two
// that divides head_dim.
//
// A fast Walsh-Hadamard transform: log2(n) rounds of n additions, the same on every target. Pure
// functions, any thread.

#ifndef KVASIR_KERNELS_HADAMARD_H_
#define KVASIR_KERNELS_HADAMARD_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/base/status.h"

namespace kvasir {

// Dims that are rotated together, n above.
uint32_t HadamardDims(uint32_t head_dim);

// kInvalidArgument when n is below 16, where rotating spreads too little.
Status CheckHadamard(uint32_t head_dim);

// Rotates each of `head_count` heads of `head_dim` numbers in place, and back when done twice.
// REQUIRES CheckHadamard(head_dim).
void HadamardHeads(uint32_t head_count, uint32_t head_dim, float* heads);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_HADAMARD_H_
