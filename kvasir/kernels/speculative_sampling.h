// Verification of speculative decoding: a cheap draft proposed tokens, the target model has
// computed its probabilities behind each of them, and what comes out is distributed exactly as if
// the target had been sampled token by token (Leviathan et al. 2023, arXiv 2211.17192; Chen et al.
// 2023, arXiv 2302.01318).
//
// The one step: a token x that was drawn from q is accepted when u * q(x) < p(x), u uniform; a
// rejected one is replaced by a draw from the residual max(0, p - q), renormalised. A tree proposes
// several tokens for one place: the next sibling is then tested against that residual in place of
// p, again and again, and the last residual is drawn from (SpecInfer's multi-step speculative
// sampling, Miao et al. 2024, arXiv 2305.09781, and recursive rejection sampling, Jeon et al. 2024,
// arXiv 2402.14160). By induction over siblings the result follows p, as long as each sibling was
// drawn from its own row of draft_probs, given the siblings before it: with replacement all rows
// are equal, without it each row lacks the earlier tokens and is renormalised.
//
// Random numbers are a function of (seed, position): stream 0 of a position draws its token, as an
// ordinary sample would, stream 1 + i decides on the i-th token that was proposed for it. Results
// do not depend on slot, batch, threads or instruction set. A draft must be drawn with numbers of
// its own, from another seed: a residual drawn with the number that chose the rejected token would
// be biased.
//
// Probabilities are used as they are: rows of sum 1, up to rounding, filtered beforehand by whoever
// wants to (FilteredProbs in batch_sampling.h). A token with a NaN is neither accepted nor drawn.
// Where rounding leaves nothing of a residual, the distribution before it is drawn from.
//
// Free functions; batch_sampling.h says who may use a workspace.

#ifndef KVASIR_KERNELS_SPECULATIVE_SAMPLING_H_
#define KVASIR_KERNELS_SPECULATIVE_SAMPLING_H_

#include <cstdint>
#include <span>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/batch_sampling.h"

namespace kvasir {

// Which random numbers a request of the batch uses.
struct SpeculativeRandom {
  PerRow<uint64_t> seed = 0;      // of the request
  PerRow<uint64_t> position = 0;  // in its sequence, of the first token that is verified
};

// One chain of n = num_speculate tokens for each request.
struct ChainSpeculativeInput {
  MatrixView<const float> draft_probs;        // [batch * n, vocab_size]: row b * n + i is what
                                              // draft token i of request b was drawn from
  MatrixView<const TokenId> draft_token_ids;  // [batch, n]; a kNoToken ends a shorter chain
  MatrixView<const float> target_probs;       // [batch * (n + 1), vocab_size]: row b * (n + 1) + i
                                              // is the target's distribution of token i
  SpeculativeRandom random;
};
struct ChainSpeculativeOutput {
  MatrixView<TokenId> token_ids;  // [batch, n + 1]: the accepted tokens, one more that the target
                                  // draws, and kNoToken behind it
  std::span<int32_t> emitted_draft_token_num;  // [batch]: the accepted tokens of the output
  std::span<int32_t> accepted_token_num;       // [batch], or empty: of all draft tokens the ones
                                               // that pass their own test, also behind a rejected
                                               // one; a measure of the draft's quality
};
// kInvalidArgument names the argument, what was found and what is allowed; then nothing is written.
Status ChainSpeculativeSampling(const ChainSpeculativeInput& input,
                                const ChainSpeculativeOutput& output, SamplingWorkspace& workspace);

// One tree of n proposed tokens for each request. A node stands behind its parent; siblings, the
// nodes of one parent, are tested in order of their numbers.
struct TreeSpeculativeInput {
  MatrixView<const int32_t> parents;          // [batch, n], or [1, n] for a shape that all share:
                                              // of node i, a node below i, or -1 for the context
  MatrixView<const float> draft_probs;        // [batch * n, vocab_size]: row b * n + i is what
                                              // the token of node i was drawn from
  MatrixView<const TokenId> draft_token_ids;  // [batch, n]; kNoToken: no such node
  MatrixView<const float> target_probs;       // [batch * (n + 1), vocab_size]: row b * (n + 1) is
                                              // the target's behind the context, and row
                                              // b * (n + 1) + 1 + i the one behind node i
  SpeculativeRandom random;
};
struct TreeSpeculativeOutput {
  MatrixView<TokenId> token_ids;  // [batch, n + 1]: the accepted tokens of one path, one more that
                                  // the target draws, and kNoToken behind it
  MatrixView<int32_t> nodes;      // [batch, n]: the accepted nodes, whose KV is kept, and -1 behind
  std::span<int32_t> emitted_draft_token_num;  // [batch]: how many were accepted
};
Status TreeSpeculativeSampling(const TreeSpeculativeInput& input,
                               const TreeSpeculativeOutput& output, SamplingWorkspace& workspace);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SPECULATIVE_SAMPLING_H_
