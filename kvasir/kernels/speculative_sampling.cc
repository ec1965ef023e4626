#include "kvasir/kernels/speculative_sampling.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sampling_checks.h"

namespace kvasir {
namespace {

constexpr uint32_t kTestStream = 1;  // of the first proposal for a position; stream 0 draws

// A place in a request's sequence for which tokens are proposed.
struct Place {
  uint64_t seed = 0;
  uint64_t position = 0;
  std::span<const float> target;  // [vocab_size]
};

struct Proposal {
  TokenId token = kNoToken;
  const float* draft = nullptr;  // [vocab_size]: what it was drawn from
  int32_t node = 0;              // whose token it is
};

bool IsAccepted(const Place& place, uint32_t rank, const Proposal& proposal,
                std::span<const float> weights, double mass) {
  const double uniform = UniformFromSeed(place.seed, place.position, kTestStream + rank);
  return uniform * double{proposal.draft[proposal.token]} * mass < double{weights[proposal.token]};
}

TokenId DrawFrom(const Place& place, std::span<const float> weights, SamplingScratch* scratch) {
  return SampleRow({.kind = RowKind::kProbs}, weights, UniformFromSeed(place.seed, place.position),
                   scratch);
}

// The node of the first proposal that is accepted, or -1; then *token is a draw from what the
// rejected ones leave of the target.
int32_t Verify(const Place& place, std::span<const Proposal> proposals, SamplingScratch* scratch,
               TokenId* token) {
  std::span<const float> weights = place.target;
  double mass = 1;
  for (uint32_t rank = 0; rank < proposals.size(); ++rank) {
    const Proposal& proposal = proposals[rank];
    if (IsAccepted(place, rank, proposal, weights, mass)) {
      *token = proposal.token;
      return proposal.node;
    }
    scratch->next_residual.resize(weights.size());
    const double rest = SubtractDraft(weights, mass, proposal.draft, scratch->next_residual.data());
    if (!(rest > 0)) continue;
    scratch->residual.swap(scratch->next_residual);
    weights = scratch->residual;
    mass = rest;
  }
  *token = DrawFrom(place, weights, scratch);
  return -1;
}

template <typename Input>
Status CheckInput(const Input& input, size_t batch, size_t node_count, size_t vocab_size) {
  KVASIR_RETURN_IF_ERROR(CheckVocabSize("target_probs", input.target_probs));
  KVASIR_RETURN_IF_ERROR(
      CheckShape("target_probs", input.target_probs, batch * (node_count + 1), vocab_size));
  if (batch * node_count > 0) {
    KVASIR_RETURN_IF_ERROR(
        CheckShape("draft_probs", input.draft_probs, batch * node_count, vocab_size));
  }
  KVASIR_RETURN_IF_ERROR(CheckPerRow("seed", input.random.seed, batch));
  KVASIR_RETURN_IF_ERROR(CheckPerRow("position", input.random.position, batch));
  for (size_t b = 0; b < batch; ++b) {
    for (size_t i = 0; i < node_count; ++i) {
      const TokenId token = input.draft_token_ids.row(b)[i];
      if (token >= kNoToken && token < static_cast<int64_t>(vocab_size)) continue;
      return InvalidArgument(ElementName(ElementName("draft_token_ids", b), i) + " is " +
                             std::to_string(token) + ", allowed is -1 (none) to " +
                             std::to_string(static_cast<int64_t>(vocab_size) - 1));
    }
  }
  return OkStatus();
}

Status CheckParents(MatrixView<const int32_t> parents, size_t batch, size_t node_count) {
  if (parents.rows() != 1) {
    KVASIR_RETURN_IF_ERROR(CheckShape("parents", parents, batch, node_count));
  }
  KVASIR_RETURN_IF_ERROR(CheckShape("parents", parents, parents.rows(), node_count));
  for (size_t b = 0; b < parents.rows(); ++b) {
    for (size_t i = 0; i < node_count; ++i) {
      const int32_t parent = parents.row(b)[i];
      if (parent >= -1 && parent < static_cast<int64_t>(i)) continue;
      return InvalidArgument(ElementName(ElementName("parents", b), i) + " is " +
                             std::to_string(parent) + ", allowed is -1 (the context) to " +
                             std::to_string(static_cast<int64_t>(i) - 1));
    }
  }
  return OkStatus();
}

// The emitted tokens of one chain; returns how many of them are draft tokens.
int32_t VerifyChain(const ChainSpeculativeInput& input, size_t b, std::span<TokenId> token_ids,
                    SamplingScratch* scratch) {
  const size_t length_max = input.draft_token_ids.cols();
  std::fill(token_ids.begin(), token_ids.end(), kNoToken);
  for (size_t i = 0;; ++i) {
    const Place place = {input.random.seed[b], input.random.position[b] + i,
                         input.target_probs.row_span(b * (length_max + 1) + i)};
    const TokenId draft = i < length_max ? input.draft_token_ids.row(b)[i] : kNoToken;
    if (draft == kNoToken) {
      token_ids[i] = DrawFrom(place, place.target, scratch);
      return static_cast<int32_t>(i);
    }
    const Proposal proposal = {draft, input.draft_probs.row(b * length_max + i), 0};
    if (Verify(place, {&proposal, 1}, scratch, &token_ids[i]) < 0) return static_cast<int32_t>(i);
  }
}

// How many tokens of a chain pass their own tests.
int32_t CountAccepted(const ChainSpeculativeInput& input, size_t b) {
  const size_t length_max = input.draft_token_ids.cols();
  int32_t accepted = 0;
  for (size_t i = 0; i < length_max && input.draft_token_ids.row(b)[i] != kNoToken; ++i) {
    const Place place = {input.random.seed[b], input.random.position[b] + i,
                         input.target_probs.row_span(b * (length_max + 1) + i)};
    const Proposal proposal = {input.draft_token_ids.row(b)[i],
                               input.draft_probs.row(b * length_max + i), 0};
    accepted += IsAccepted(place, 0, proposal, place.target, 1) ? 1 : 0;
  }
  return accepted;
}

// The nodes behind `parent` that have a token.
std::vector<Proposal> ProposalsBehind(const TreeSpeculativeInput& input, size_t b, int32_t parent) {
  const size_t node_count = input.draft_token_ids.cols();
  const int32_t* parents = input.parents.row(input.parents.rows() == 1 ? 0 : b);
  std::vector<Proposal> proposals;
  for (size_t i = 0; i < node_count; ++i) {
    const TokenId token = input.draft_token_ids.row(b)[i];
    if (parents[i] != parent || token == kNoToken) continue;
    proposals.push_back(
        {token, input.draft_probs.row(b * node_count + i), static_cast<int32_t>(i)});
  }
  return proposals;
}

// The emitted tokens of one tree and their nodes; returns how many nodes were accepted.
int32_t VerifyTree(const TreeSpeculativeInput& input, size_t b, std::span<TokenId> token_ids,
                   std::span<int32_t> nodes, SamplingScratch* scratch) {
  const size_t node_count = input.draft_token_ids.cols();
  std::fill(token_ids.begin(), token_ids.end(), kNoToken);
  std::fill(nodes.begin(), nodes.end(), -1);
  int32_t node = -1;
  for (size_t depth = 0;; ++depth) {
    const size_t target_row = b * (node_count + 1) + static_cast<size_t>(node + 1);
    const Place place = {input.random.seed[b], input.random.position[b] + depth,
                         input.target_probs.row_span(target_row)};
    node = Verify(place, ProposalsBehind(input, b, node), scratch, &token_ids[depth]);
    if (node < 0) return static_cast<int32_t>(depth);
    nodes[depth] = node;
  }
}

}  // namespace

Status ChainSpeculativeSampling(const ChainSpeculativeInput& input,
                                const ChainSpeculativeOutput& output,
                                SamplingWorkspace& workspace) {
  const size_t batch = input.draft_token_ids.rows(), length_max = input.draft_token_ids.cols();
  KVASIR_RETURN_IF_ERROR(CheckInput(input, batch, length_max, input.target_probs.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("token_ids", output.token_ids, batch, length_max + 1));
  KVASIR_RETURN_IF_ERROR(
      CheckSize("emitted_draft_token_num", output.emitted_draft_token_num.size(), batch));
  if (!output.accepted_token_num.empty()) {
    KVASIR_RETURN_IF_ERROR(
        CheckSize("accepted_token_num", output.accepted_token_num.size(), batch));
  }
  workspace.pool().ParallelFor(batch, [&](size_t b, size_t worker) {
    output.emitted_draft_token_num[b] =
        VerifyChain(input, b, output.token_ids.row_span(b), &workspace.scratch(worker));
    if (!output.accepted_token_num.empty()) output.accepted_token_num[b] = CountAccepted(input, b);
  });
  return OkStatus();
}

Status TreeSpeculativeSampling(const TreeSpeculativeInput& input,
                               const TreeSpeculativeOutput& output, SamplingWorkspace& workspace) {
  const size_t batch = input.draft_token_ids.rows(), node_count = input.draft_token_ids.cols();
  KVASIR_RETURN_IF_ERROR(CheckInput(input, batch, node_count, input.target_probs.cols()));
  KVASIR_RETURN_IF_ERROR(CheckParents(input.parents, batch, node_count));
  KVASIR_RETURN_IF_ERROR(CheckShape("token_ids", output.token_ids, batch, node_count + 1));
  KVASIR_RETURN_IF_ERROR(CheckShape("nodes", output.nodes, batch, node_count));
  KVASIR_RETURN_IF_ERROR(
      CheckSize("emitted_draft_token_num", output.emitted_draft_token_num.size(), batch));
  workspace.pool().ParallelFor(batch, [&](size_t b, size_t worker) {
    output.emitted_draft_token_num[b] =
        VerifyTree(input, b, output.token_ids.row_span(b), output.nodes.row_span(b),
                   &workspace.scratch(worker));
  });
  return OkStatus();
}

}  // namespace kvasir
