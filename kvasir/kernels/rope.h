// RoPE: turns the pairs (i, i + rotary_dim / 2) of each head by position * inverse_frequency[i] (Su
// et al. 2021, arXiv 2104.09864, in the half-split order of GPT-NeoX). Angles are computed in
// float64 and rounded once, so that positions up to 2^31 keep their accuracy. A table belongs to
// one model; RopeRow may be called from any thread.

#ifndef KVASIR_KERNELS_ROPE_H_
#define KVASIR_KERNELS_ROPE_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace kvasir {

// Cosines and sines of one position: [rotary_dim / 2] each.
void RopeAngles(std::span<const float> inverse_frequency, int32_t position, float* cosines,
                float* sines);

// Turns `head_count` heads of `head_dim` that lie one after the other at `x`. REQUIRES 2 * half_dim
// <= head_dim; the dims beyond pass through.
void RopeRow(const float* cosines, const float* sines, size_t half_dim, size_t head_count,
             size_t head_dim, float* x);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_ROPE_H_
