// The promise that a cache can be trusted: the bits of a row depend on its query and the keys that
// it sees, and on nothing else.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

struct Variant {
  const char* name;
  AttentionSpec spec;
  TestStorage storage;
};

const Variant kVariants[] = {
    {"smollm2", {9, 3, 64, 0.125f}, KvFormat::kBF16},
    {"smollm2 f32", {9, 3, 64, 0.125f}, KvFormat::kF32},
    {"group 4", {8, 2, 128, 0.088f}, KvFormat::kBF16},
    {"group 16, odd dim", {16, 1, 35, 0.17f}, KvFormat::kBF16},
    {"single heads, dim 40", {2, 2, 40, 0.158f}, KvFormat::kF32},
    {"window and cap", {4, 1, 80, 0.11f, 77, 20.0f}, KvFormat::kBF16},
    {"window of two splits", {4, 1, 32, 0.18f, 400, 0}, KvFormat::kBF16},
    {"smollm2 int8", {9, 3, 64, 0.125f}, KvFormat::kInt8},
    {"int4, group 4, window of two splits", {4, 1, 128, 0.088f, 400, 0}, KvFormat::kInt4},
    {"int4/int8, odd dim", {16, 1, 35, 0.17f}, KvFormats(KvFormat::kInt4, KvFormat::kInt8)},
    {"k8v4, window and cap",
     {4, 1, 80, 0.11f, 77, 20.0f},
     KvFormats(KvFormat::kInt8, KvFormat::kInt4)},
    {"e4m3/bf16", {4, 2, 40, 0.158f}, KvFormats(KvFormat::kFp8E4M3, KvFormat::kBF16)},
    {"bf16/e5m2", {2, 2, 64, 0.125f}, KvFormats(KvFormat::kBF16, KvFormat::kFp8E5M2)},
    {"rows", {4, 2, 64, 0.125f}, {TestStorage::Kind::kNhd, KvRowType::kBF16, 16}},
    {"rows of f16", {4, 1, 40, 0.16f}, {TestStorage::Kind::kHnd, KvRowType::kF16, 7}},
};
constexpr int32_t kTokens = 601;  // three splits, the last incomplete, within a block

class InvarianceTest : public testing::TestWithParam<CpuTarget> {
 protected:
  // Rows of one sequence, all tokens queried at once on one thread.
  void Prepare(const Variant& variant) {
    variant_ = &variant;
    random_.seed(11);
    columns_ = size_t{variant.spec.num_qo_heads} * variant.spec.head_dim;
    sequence_ = RandomSequence(variant.spec, variant.storage, kTokens, kTokens, random_);
    expected_ = Batch({sequence_}).Run(1);
  }
  TestBatch Batch(std::vector<TestSequence> sequences) {
    return TestBatch(variant_->spec, variant_->storage, std::move(sequences), random_);
  }
  // Compares `rows` rows from `first` of `out` with those of the whole run from `token`.
  void ExpectRows(const std::vector<float>& out, size_t first, int32_t token, int32_t rows,
                  const std::string& what) {
    ASSERT_GE(out.size(), (first + size_t(rows)) * columns_);
    EXPECT_EQ(std::memcmp(&out[first * columns_], &expected_[size_t(token) * columns_],
                          size_t(rows) * columns_ * sizeof(float)),
              0)
        << variant_->name << ", tokens " << token << " to " << token + rows << ": " << what;
  }

  const ScopedCpuTarget scope_{GetParam()};
  const Variant* variant_ = nullptr;
  std::mt19937 random_;
  size_t columns_ = 0;
  TestSequence sequence_;
  std::vector<float> expected_;
};

INSTANTIATE_TEST_SUITE_P(Targets, InvarianceTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

TEST_P(InvarianceTest, ChunksOfAPromptEqualDecodingOneByOne) {
  for (const Variant& variant : kVariants) {
    Prepare(variant);
    for (const int32_t chunk : {1, 7, 32, 512}) {
      // One by one takes its time: enough of it around the edges of blocks and splits.
      const auto is_wanted = [&](int32_t t) {
        return chunk > 1 || t < 40 || t % 256 < 3 || t % 256 > 253 || t > kTokens - 4;
      };
      for (int32_t begin = 0; begin < kTokens; begin += chunk) {
        const int32_t end = std::min(begin + chunk, kTokens);
        if (!is_wanted(begin)) continue;
        const TestSequence prefix = Prefix(variant.spec, sequence_, end, end - begin);
        ExpectRows(Batch({prefix}).Run(1), 0, begin, end - begin,
                   "chunks of " + std::to_string(chunk));
      }
    }
  }
}

TEST_P(InvarianceTest, ThreadsAndPagesDoNotMatter) {
  for (const Variant& variant : kVariants) {
    Prepare(variant);
    const TestBatch batch = Batch({sequence_});
    const TestBatch decode = Batch({Prefix(variant.spec, sequence_, kTokens, 1)});
    for (const size_t threads : {1u, 2u, 3u, 7u}) {
      ExpectRows(batch.Run(threads), 0, 0, kTokens, std::to_string(threads) + " threads");
      ExpectRows(decode.Run(threads), 0, kTokens - 1, 1, std::to_string(threads) + " threads");
    }
  }
}

TEST_P(InvarianceTest, NeighboursInTheBatchDoNotMatter) {
  for (const Variant& variant : kVariants) {
    Prepare(variant);
    for (const size_t threads : {1u, 2u}) {
      const auto other = [&](int32_t kv_len, int32_t q_len) {
        return RandomSequence(variant.spec, variant.storage, kv_len, q_len, random_);
      };
      const TestBatch batch = Batch({other(1200, 3), Prefix(variant.spec, sequence_, 400, 120),
                                     other(5, 5), Prefix(variant.spec, sequence_, kTokens, 1),
                                     other(0, 2), Prefix(variant.spec, sequence_, 258, 1)});
      const std::vector<float> out = batch.Run(threads);
      ExpectRows(out, 3, 280, 120, "a chunk in a batch");
      ExpectRows(out, 3 + 120 + 5, kTokens - 1, 1, "a decode in a batch");
      ExpectRows(out, 3 + 120 + 5 + 1 + 2, 257, 1, "another decode in a batch");
    }
  }
}

// Sequences that share pages are read together where it pays: no row may notice.
TEST_P(InvarianceTest, SharingPagesDoesNotMatter) {
  for (const Variant& variant : kVariants) {
    Prepare(variant);
    std::vector<TestSequence> sequences = {Prefix(variant.spec, sequence_, kTokens, 1)};
    const int32_t page = variant.storage.page_size;
    // Rows of the whole run: 1 at the end, 1 at 560, a chunk of 30 before 590, and others that
    // leave the prefix after one split or two.
    for (const auto& [kv_len, q_len] : {std::pair(561, 1), std::pair(590, 30)}) {
      TestSequence same = Prefix(variant.spec, sequence_, kv_len, q_len);
      ShareTokens(variant.spec, sequences, 0, kv_len / page * page, &same);
      sequences.push_back(std::move(same));
    }
    for (const int32_t shared : {260, 530, 0}) {
      TestSequence other = RandomSequence(variant.spec, variant.storage, 600, 2, random_);
      ShareTokens(variant.spec, sequences, 0, shared / page * page, &other);
      sequences.push_back(std::move(other));
    }
    const TestBatch batch = Batch(std::move(sequences));
    for (const bool shares : {false, true}) {
      for (const size_t threads : {1u, 2u}) {
        AttentionPlanOptions options = {.thread_count = threads};
        if (shares) options.costs = CostsThatShare();
        const std::vector<float> out = batch.Run(options).out;
        ExpectRows(out, 0, kTokens - 1, 1, "a decode that shares");
        ExpectRows(out, 1, 560, 1, "another one");
        ExpectRows(out, 2, 560, 30, "a chunk that shares");
        options.cascade = false;
        EXPECT_EQ(batch.Run(options).out, out) << variant.name;
      }
    }
  }
}

// Blocks and rows, whatever their pages, hold the same numbers and give the same bits.
TEST_P(InvarianceTest, TheKindOfMemoryDoesNotMatter) {
  const AttentionSpec spec = {6, 2, 72, 0.12f};
  for (const KvRowType type : {KvRowType::kF32, KvRowType::kBF16}) {
    std::mt19937 random(19);
    const TestStorage blocks(TestStorage::Kind::kBlocks, type, 32);
    const std::vector<TestSequence> sequences = {RandomSequence(spec, blocks, 530, 1, random),
                                                 RandomSequence(spec, blocks, 300, 40, random),
                                                 RandomSequence(spec, blocks, 5, 9, random)};
    const TestOutput expected =
        TestBatch(spec, blocks, sequences, random).Run(AttentionPlanOptions{});
    using Kind = TestStorage::Kind;
    for (const Kind kind : {Kind::kNhd, Kind::kHnd, Kind::kRagged}) {
      for (const int32_t page_size : {1, 7, 16, 64, 300}) {
        const TestStorage storage(kind, type, page_size);
        const TestOutput output =
            TestBatch(spec, storage, sequences, random).Run(AttentionPlanOptions{});
        EXPECT_EQ(output.out, expected.out) << storage.Name();
        EXPECT_EQ(output.lse, expected.lse) << storage.Name();
      }
    }
  }
}

// AVX2 and AVX-512 are one numerics class: one cache serves a mixed fleet.
TEST(NumericsClassTest, TargetsOfAClassGiveTheSameBits) {
  const std::vector<CpuTarget> targets = SupportedCpuTargets();
  for (const Variant& variant : kVariants) {
    std::mt19937 random(13);
    std::vector<TestSequence> sequences = {
        RandomSequence(variant.spec, variant.storage, 523, 70, random),
        RandomSequence(variant.spec, variant.storage, 523, 1, random)};
    const TestBatch batch(variant.spec, variant.storage, std::move(sequences), random);
    for (size_t a = 0; a < targets.size(); ++a) {
      for (size_t b = a + 1; b < targets.size(); ++b) {
        if (NumericsClass(targets[a]) != NumericsClass(targets[b])) continue;
        std::vector<float> outs[2];
        for (const size_t i : {0, 1}) {
          const ScopedCpuTarget scope(targets[i == 0 ? a : b]);
          outs[i] = batch.Run(2);
        }
        EXPECT_EQ(std::memcmp(outs[0].data(), outs[1].data(), outs[0].size() * sizeof(float)), 0)
            << variant.name << ": " << CpuTargetName(targets[a]) << " and "
            << CpuTargetName(targets[b]);
      }
    }
  }
}

}  // namespace
}  // namespace kvasir
