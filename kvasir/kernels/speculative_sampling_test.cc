#include "kvasir/kernels/speculative_sampling.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

// Two language models over four words in which a word depends on the one before it: what a test
// needs to know the exact distribution of whole sequences.
constexpr size_t kWords = 4;
constexpr TokenId kStart = 0;  // the context's last word
constexpr int kTrials = 60000;

class WordModel {
 public:
  explicit WordModel(uint32_t seed, float spread) {
    for (size_t word = 0; word < kWords; ++word) {
      rows_.push_back(RandomProbs(kWords, seed * 100 + uint32_t(word), spread));
    }
  }
  const std::vector<float>& After(TokenId word) const { return rows_[size_t(word)]; }

  // The probability of every sequence of three words behind kStart; the first word counts 16.
  std::vector<double> OfThreeWords() const {
    std::vector<double> p;
    for (TokenId a = 0; a < TokenId(kWords); ++a) {
      for (TokenId b = 0; b < TokenId(kWords); ++b) {
        for (const float c : After(b)) p.push_back(double{After(kStart)[a]} * After(a)[b] * c);
      }
    }
    double sum = 0;
    for (const double x : p) sum += x;
    for (double& x : p) x /= sum;
    return p;
  }

 private:
  std::vector<std::vector<float>> rows_;
};

TokenId Draw(const std::vector<float>& probs, std::mt19937* random) {
  return TokenId(std::discrete_distribution<int>(probs.begin(), probs.end())(*random));
}

// Counts the first three words of sequences, the emitted ones completed by the target itself.
class SequenceCounts {
 public:
  SequenceCounts(const WordModel& target, uint32_t seed) : target_(target), random_(seed) {}

  void Add(std::span<const TokenId> emitted) {
    TokenId word = kStart;
    size_t place = 0;
    for (size_t i = 0; i < 3; ++i) {
      const bool is_emitted = i < emitted.size() && emitted[i] != kNoToken;
      word = is_emitted ? emitted[i] : Draw(target_.After(word), &random_);
      place = place * kWords + size_t(word);
    }
    ++counts_[place];
  }
  void ExpectTargetDistribution() const { ExpectCountsFollow(target_.OfThreeWords(), counts_); }

 private:
  const WordModel& target_;
  std::mt19937 random_;
  std::vector<int> counts_ = std::vector<int>(kWords * kWords * kWords, 0);
};

void Append(const std::vector<float>& row, std::vector<float>* matrix) {
  matrix->insert(matrix->end(), row.begin(), row.end());
}

// A batch of chains or trees with their outputs.
struct SpeculativeBatch {
  SpeculativeBatch(size_t batch_size, size_t node_count) : batch(batch_size), n(node_count) {
    for (size_t b = 0; b < batch; ++b) seeds.push_back(1000 + b);
    token_ids.assign(batch * (n + 1), -7);
    nodes.assign(batch * n, -7);
    emitted.assign(batch, -7);
    accepted.assign(batch, -7);
  }
  ChainSpeculativeInput chain() const {
    return {{draft_probs.data(), batch * n, kWords},
            {drafts.data(), batch, n},
            {target_probs.data(), batch * (n + 1), kWords},
            {.seed = seeds, .position = 17}};
  }
  TreeSpeculativeInput tree() const {
    return {{parents.data(), parents.size() / n, n},
            {draft_probs.data(), batch * n, kWords},
            {drafts.data(), batch, n},
            {target_probs.data(), batch * (n + 1), kWords},
            {.seed = seeds, .position = 17}};
  }
  ChainSpeculativeOutput chain_output() {
    return {{token_ids.data(), batch, n + 1}, emitted, accepted};
  }
  TreeSpeculativeOutput tree_output() {
    return {{token_ids.data(), batch, n + 1}, {nodes.data(), batch, n}, emitted};
  }
  std::span<const TokenId> tokens(size_t b) const { return {&token_ids[b * (n + 1)], n + 1}; }

  size_t batch, n;
  std::vector<int32_t> parents;
  std::vector<float> draft_probs, target_probs;
  std::vector<TokenId> drafts, token_ids;
  std::vector<int32_t> nodes, emitted, accepted;
  std::vector<uint64_t> seeds;
};

// Chains of three words that the draft model wrote.
SpeculativeBatch MakeChains(const WordModel& target, const WordModel& draft, size_t batch) {
  SpeculativeBatch chains(batch, 3);
  std::mt19937 random(3);
  for (size_t b = 0; b < batch; ++b) {
    TokenId word = kStart;
    Append(target.After(word), &chains.target_probs);
    for (size_t i = 0; i < chains.n; ++i) {
      Append(draft.After(word), &chains.draft_probs);
      word = Draw(draft.After(word), &random);
      chains.drafts.push_back(word);
      Append(target.After(word), &chains.target_probs);
    }
  }
  return chains;
}

// Trees of `parents`, whose siblings are drawn one after the other: with replacement from the same
// distribution, without it from what the earlier ones leave.
SpeculativeBatch MakeTrees(const WordModel& target, const WordModel& draft,
                           const std::vector<int32_t>& parents, bool with_replacement,
                           size_t batch) {
  SpeculativeBatch trees(batch, parents.size());
  trees.parents = parents;
  std::mt19937 random(4);
  for (size_t b = 0; b < batch; ++b) {
    const size_t first = trees.drafts.size();
    Append(target.After(kStart), &trees.target_probs);
    for (size_t i = 0; i < trees.n; ++i) {
      std::vector<float> q =
          draft.After(parents[i] < 0 ? kStart : trees.drafts[first + size_t(parents[i])]);
      for (size_t j = 0; j < i && !with_replacement; ++j) {
        if (parents[j] == parents[i]) q[size_t(trees.drafts[first + j])] = 0;
      }
      double sum = 0;
      for (const float x : q) sum += x;
      for (float& x : q) x = float(x / sum);
      Append(q, &trees.draft_probs);
      trees.drafts.push_back(Draw(q, &random));
      Append(target.After(trees.drafts.back()), &trees.target_probs);
    }
  }
  return trees;
}

class SpeculativeSamplingTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  SamplingWorkspace workspace_{pool_};
  const WordModel target_{1, 1.0f}, draft_{2, 1.0f};
};

TEST_F(SpeculativeSamplingTest, ChainsLeaveTheTargetDistributionUnchanged) {
  for (const uint32_t draft_seed : {2u, 3u, 1u}) {  // 1: the target itself
    const WordModel draft(draft_seed, draft_seed == 3 ? 3.0f : 1.0f);
    SpeculativeBatch chains = MakeChains(target_, draft, kTrials);
    ASSERT_TRUE(ChainSpeculativeSampling(chains.chain(), chains.chain_output(), workspace_).ok());
    SequenceCounts counts(target_, 5);
    for (size_t b = 0; b < chains.batch; ++b) counts.Add(chains.tokens(b));
    counts.ExpectTargetDistribution();
    if (draft_seed == 1) {
      EXPECT_EQ(chains.emitted, std::vector<int32_t>(chains.batch, 3));
      EXPECT_EQ(chains.accepted, chains.emitted);
    }
  }
}

// The first draft token is accepted with probability sum of min(p, q) (Leviathan et al., section
// 3). Tolerance: five standard deviations of a share.
TEST_F(SpeculativeSamplingTest, ChainsAcceptAsManyAsTheTheorySays) {
  SpeculativeBatch chains = MakeChains(target_, draft_, kTrials);
  ASSERT_TRUE(ChainSpeculativeSampling(chains.chain(), chains.chain_output(), workspace_).ok());
  double expected = 0;
  for (size_t i = 0; i < kWords; ++i) {
    expected += std::min(target_.After(kStart)[i], draft_.After(kStart)[i]);
  }
  const auto accepted = std::count_if(chains.emitted.begin(), chains.emitted.end(),
                                      [](int32_t count) { return count > 0; });
  EXPECT_NEAR(double(accepted) / kTrials, expected, 5 * std::sqrt(0.25 / kTrials));
  for (size_t b = 0; b < chains.batch; ++b) {
    EXPECT_GE(chains.accepted[b], chains.emitted[b]);
    for (size_t i = 0; i <= chains.n; ++i) {
      const bool is_padding = int32_t(i) > chains.emitted[b];
      ASSERT_EQ(chains.tokens(b)[i] == kNoToken, is_padding);
      if (int32_t(i) < chains.emitted[b]) {
        ASSERT_EQ(chains.tokens(b)[i], chains.drafts[b * 3 + i]);
      }
    }
  }
}

TEST_F(SpeculativeSamplingTest, TreesLeaveTheTargetDistributionUnchanged) {
  const std::vector<std::vector<int32_t>> shapes = {
      {-1, -1, -1},                       // three for one place
      {-1, -1, 0, 0, 1, 1, 2, 4},         // two levels of two, and single ones below
      {-1, 0, -1, 1, 0, -1, 2, 2, 3, 5},  // children of different parents in turn
  };
  for (const std::vector<int32_t>& shape : shapes) {
    for (const bool with_replacement : {true, false}) {
      SpeculativeBatch trees = MakeTrees(target_, draft_, shape, with_replacement, kTrials);
      ASSERT_TRUE(TreeSpeculativeSampling(trees.tree(), trees.tree_output(), workspace_).ok());
      SequenceCounts counts(target_, 5);
      for (size_t b = 0; b < trees.batch; ++b) counts.Add(trees.tokens(b));
      counts.ExpectTargetDistribution();
    }
  }
}

// With more siblings more is accepted, and the nodes are the path of the tokens.
TEST_F(SpeculativeSamplingTest, TreesEmitOnePathAndAcceptMoreThanChains) {
  const std::vector<int32_t> shape = {-1, -1, -1, 0, 0, 1, 2, 3};
  SpeculativeBatch trees = MakeTrees(target_, draft_, shape, false, 5000);
  SpeculativeBatch chains = MakeChains(target_, draft_, 5000);
  ASSERT_TRUE(TreeSpeculativeSampling(trees.tree(), trees.tree_output(), workspace_).ok());
  ASSERT_TRUE(ChainSpeculativeSampling(chains.chain(), chains.chain_output(), workspace_).ok());
  const auto first_accepted = [](const std::vector<int32_t>& emitted) {
    return std::count_if(emitted.begin(), emitted.end(), [](int32_t n) { return n > 0; });
  };
  EXPECT_GT(first_accepted(trees.emitted), first_accepted(chains.emitted) + 200);
  for (size_t b = 0; b < trees.batch; ++b) {
    int32_t parent = -1;
    for (size_t i = 0; i < trees.n; ++i) {
      const int32_t node = trees.nodes[b * trees.n + i];
      ASSERT_EQ(node >= 0, int32_t(i) < trees.emitted[b]);
      if (node < 0) continue;
      ASSERT_EQ(shape[size_t(node)], parent);
      ASSERT_EQ(trees.drafts[b * trees.n + size_t(node)], trees.tokens(b)[i]);
      parent = node;
    }
  }
}

TEST_F(SpeculativeSamplingTest, ATreeWithoutSiblingsIsAChain) {
  SpeculativeBatch chains = MakeChains(target_, draft_, 2000);
  SpeculativeBatch trees = chains;
  trees.parents = {-1, 0, 1};
  ASSERT_TRUE(ChainSpeculativeSampling(chains.chain(), chains.chain_output(), workspace_).ok());
  ASSERT_TRUE(TreeSpeculativeSampling(trees.tree(), trees.tree_output(), workspace_).ok());
  EXPECT_EQ(trees.token_ids, chains.token_ids);
  EXPECT_EQ(trees.emitted, chains.emitted);
}

TEST_F(SpeculativeSamplingTest, WithoutADraftItIsAnOrdinarySample) {
  SpeculativeBatch chains = MakeChains(target_, draft_, 500);
  std::fill(chains.drafts.begin(), chains.drafts.end(), kNoToken);
  ASSERT_TRUE(ChainSpeculativeSampling(chains.chain(), chains.chain_output(), workspace_).ok());
  SpeculativeBatch trees = chains;
  trees.parents = {-1, -1, 1};
  ASSERT_TRUE(TreeSpeculativeSampling(trees.tree(), trees.tree_output(), workspace_).ok());
  SpeculativeBatch none(500, 0);
  for (size_t b = 0; b < 500; ++b) Append(target_.After(kStart), &none.target_probs);
  ASSERT_TRUE(ChainSpeculativeSampling(none.chain(), none.chain_output(), workspace_).ok());
  std::vector<TokenId> samples(500);
  ASSERT_TRUE(SamplingFromProbs({none.target_probs.data(), 500, kWords},
                                {.seed = none.seeds, .position = 17}, samples, workspace_)
                  .ok());
  for (size_t b = 0; b < 500; ++b) {
    EXPECT_EQ(chains.tokens(b)[0], samples[b]);
    EXPECT_EQ(trees.tokens(b)[0], samples[b]);
    EXPECT_EQ(none.tokens(b)[0], samples[b]);
    EXPECT_EQ(chains.emitted[b], 0);
  }
}

// On a vocabulary that takes vectors and tails, on every target, alone and in a batch.
TEST_F(SpeculativeSamplingTest, ResultsDependOnTheRequestAlone) {
  constexpr size_t kVocab = 1003;
  const std::vector<float> p0 = RandomProbs(kVocab, 1), p1 = RandomProbs(kVocab, 2);
  const std::vector<float> q = RandomProbs(kVocab, 3);
  const std::vector<int32_t> parents = {-1, -1};
  std::mt19937 random(9);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::vector<float> draft_probs, target_probs;
    for (const auto* row : {&p0, &p1, &p1, &p1, &p0, &p0}) Append(*row, &target_probs);
    for (int i = 0; i < 4; ++i) Append(q, &draft_probs);
    const std::vector<TokenId> drafts = {Draw(q, &random), Draw(q, &random), 5, 6};
    const std::vector<uint64_t> seeds = {seed, 77};
    const auto verify = [&](size_t batch) {
      std::vector<TokenId> token_ids(batch * 3);
      std::vector<int32_t> nodes(batch * 2), emitted(batch);
      EXPECT_TRUE(TreeSpeculativeSampling(
                      {{parents.data(), 1, 2},
                       {draft_probs.data(), batch * 2, kVocab},
                       {drafts.data(), batch, 2},
                       {target_probs.data(), batch * 3, kVocab},
                       {.seed = std::span(seeds).first(batch), .position = 3}},
                      {{token_ids.data(), batch, 3}, {nodes.data(), batch, 2}, emitted}, workspace_)
                      .ok());
      token_ids.resize(3);
      return token_ids;
    };
    const std::vector<TokenId> alone = verify(1);
    EXPECT_EQ(verify(2), alone);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      EXPECT_EQ(verify(1), alone) << CpuTargetName(target);
    }
  }
}

// A draft that is certain of what the target excludes; NaN; a target that is the draft, so that
// nothing is left of it when u * q rounds to p.
TEST_F(SpeculativeSamplingTest, ExtremesAreDefined) {
  const auto first = [&](std::vector<float> target, std::vector<float> draft, TokenId token) {
    SpeculativeBatch one(1, 1);
    one.drafts = {token};
    one.draft_probs = std::move(draft);
    one.target_probs = target;
    Append(target, &one.target_probs);
    EXPECT_TRUE(ChainSpeculativeSampling(one.chain(), one.chain_output(), workspace_).ok());
    return one.tokens(0)[0];
  };
  EXPECT_EQ(first({0, 0, 1, 0}, {0, 1, 0, 0}, 1), 2);
  EXPECT_EQ(first({0, kNan, 1, 0}, {0, 1, 0, 0}, 1), 2);
  EXPECT_EQ(first({0, 0.5f, 0.5f, 0}, {0, kNan, 0, 0}, 1), 2);
  EXPECT_EQ(first({0, 0, 1, 0}, {0, 0, 0, 0}, 2), 2);
  // The draft claims more than the target everywhere: what is drawn is the target.
  EXPECT_EQ(first({0, 0, 1, 0}, {0, 9, 9, 9}, 1), 2);
  EXPECT_EQ(first({0, 0, 0, 0}, {0, 1, 0, 0}, 1), 0);
}

TEST_F(SpeculativeSamplingTest, RefusesWrongArgumentsByName) {
  const auto expect = [&](auto change, const std::string& message) {
    SpeculativeBatch batch = MakeTrees(target_, draft_, {-1, 0, 0}, true, 2);
    TreeSpeculativeInput input = batch.tree();
    TreeSpeculativeOutput output = batch.tree_output();
    change(&batch, &input, &output);
    const Status status = TreeSpeculativeSampling(input, output, workspace_);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), message);
    EXPECT_EQ(batch.emitted, std::vector<int32_t>(2, -7));
  };
  expect([](auto* batch, auto*, auto*) { batch->drafts[4] = 4; },
         "draft_token_ids[1][1] is 4, allowed is -1 (none) to 3");
  expect([](auto* batch, auto*, auto*) { batch->parents[1] = 1; },
         "parents[0][1] is 1, allowed is -1 (the context) to 0");
  expect([](auto* batch, auto*, auto*) { batch->parents[0] = -2; },
         "parents[0][0] is -2, allowed is -1 (the context) to -1");
  expect(
      [](auto*, auto* input, auto*) {
        input->parents = {input->parents.data(), 1, 2};
      },
      "parents is 1 x 2, it must be 1 x 3");
  expect([](auto*, auto* input, auto*) { input->draft_probs = input->draft_probs.Rows(0, 5); },
         "draft_probs is 5 x 4, it must be 6 x 4");
  expect([](auto*, auto* input, auto*) { input->target_probs = input->target_probs.Rows(0, 6); },
         "target_probs is 6 x 4, it must be 8 x 4");
  expect([](auto*, auto* input, auto*) { input->target_probs = input->target_probs.Cols(0, 0); },
         "target_probs has 0 columns, allowed is 1 to 1073741824");
  expect([](auto*, auto*, auto* output) { output->nodes = output->nodes.Cols(0, 2); },
         "nodes is 2 x 2, it must be 2 x 3");
  expect([](auto*, auto*, auto* output) { output->token_ids = output->token_ids.Cols(0, 3); },
         "token_ids is 2 x 3, it must be 2 x 4");
  expect([](auto* batch, auto* input,
            auto*) { input->random.seed = std::span(batch->seeds).first(1); },
         "seed has 1 values, it must have 1 or 2, one for each output row");
}

TEST_F(SpeculativeSamplingTest, ChainsRefuseWrongOutputs) {
  SpeculativeBatch chains = MakeChains(target_, draft_, 2);
  ChainSpeculativeOutput output = chains.chain_output();
  output.accepted_token_num = output.accepted_token_num.first(1);
  EXPECT_EQ(ChainSpeculativeSampling(chains.chain(), output, workspace_).message(),
            "accepted_token_num has 1 elements, it must have 2");
  output.accepted_token_num = {};
  EXPECT_TRUE(ChainSpeculativeSampling(chains.chain(), output, workspace_).ok());
  output.emitted_draft_token_num = {};
  EXPECT_EQ(ChainSpeculativeSampling(chains.chain(), output, workspace_).message(),
            "emitted_draft_token_num has 0 elements, it must have 2");
}

}  // namespace
}  // namespace kvasir
