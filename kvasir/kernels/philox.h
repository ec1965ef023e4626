// Random numbers without a state: Philox, a counter-based generator. A number is a pure function of
// the request's seed, the position of the token that it decides and what it is drawn for, so that a
// sample never depends on the slot, the batch or the thread. Any thread.

#ifndef KVASIR_KERNELS_PHILOX_H_
#define KVASIR_KERNELS_PHILOX_H_

#include <array>
#include <cstdint>

namespace kvasir {

// Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011): 128 random
// bits that are a pure function of counter and key.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A uniform number in [0, 1) with 53 random bits: Philox with the seed as key, position and stream
// as counter. Streams are independent of one another: 0 draws a token, 1 + i decides whether the
// i-th token that a draft proposes for the position is accepted (speculative_sampling.h).
double UniformFromSeed(uint64_t seed, uint64_t position, uint32_t stream = 0);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_PHILOX_H_
