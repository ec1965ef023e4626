// Every kernel against the float64 truth.

#include "kvasir/attention/batch_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

// Rounding to f32 in a few hundred chained multiply-adds, the exponential's last bit, and sums of
// up to 700 positive weights: a few 1e-7 of the row's largest number; bf16 and f16 add nothing,
// because the truth reads the rounded keys and values. A soft cap, ALiBi and RoPE put a few
// roundings more on each logit, which may be around 10.
constexpr double kTolerance = 5e-6;

// The largest error of a row relative to its scale; NaN anywhere gives infinity.
double RelativeError(const std::vector<float>& out, size_t first, const ReferenceOutput& truth,
                     size_t row_size) {
  double worst = 0;
  for (size_t i = 0; i < truth.out.size(); ++i) {
    const double error =
        std::abs(double(out[first + i]) - truth.out[i]) - truth.rounding[i / row_size];
    if (error <= 0) continue;
    const double relative = error / truth.scale[i / row_size];
    worst = std::isfinite(relative) ? std::max(worst, relative) : INFINITY;
  }
  return worst;
}

// The largest error of an LSE, relative where it is above 1; both must be -inf together.
double LseError(const std::vector<float>& lse, size_t first, const std::vector<double>& truth) {
  double worst = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double x = lse[first + i];
    if (x == truth[i]) continue;  // -inf too
    const double error = std::abs(x - truth[i]) / std::max(1.0, std::abs(truth[i]));
    worst = std::isfinite(error) ? std::max(worst, error) : INFINITY;
  }
  return worst;
}

std::string Describe(const AttentionSpec& spec, const TestStorage& storage,
                     const TestBatch& batch) {
  std::string text =
      storage.Name() + ", heads " + std::to_string(spec.num_qo_heads) + "/" +
      std::to_string(spec.num_kv_heads) + ", dims " + std::to_string(spec.head_dim) + "/" +
      std::to_string(spec.v_dim()) + ", window " + std::to_string(spec.window_left) + ", cap " +
      std::to_string(spec.logits_soft_cap) + (spec.causal ? ", causal" : "") +
      (spec.alibi_slopes.empty() ? "" : ", alibi") + (spec.sinks.empty() ? "" : ", sinks") +
      (spec.packed_custom_mask.empty() ? "" : ", mask") + (spec.rope == nullptr ? "" : ", rope") +
      ", q_len/kv_len";
  for (const TestSequence& s : batch.sequences()) {
    text += " " + std::to_string(s.q_len) + "/" + std::to_string(s.kv_len);
    if (s.shared_from >= 0) text += " (shares " + std::to_string(s.shared_tokens) + ")";
  }
  return text;
}

void CheckOnAllTargets(const TestStorage& storage, const TestBatch& batch,
                       const AttentionPlanOptions& options) {
  const AttentionSpec& spec = batch.spec();
  std::vector<ReferenceOutput> truths;
  for (const TestSequence& s : batch.sequences()) truths.push_back(ReferenceAttention(spec, s));
  for (const CpuTarget target : SupportedCpuTargets()) {
    const ScopedCpuTarget scope(target);
    const TestOutput output = batch.Run(options);
    for (size_t b = 0; b < truths.size(); ++b) {
      const size_t first = size_t(batch.qo_indptr()[b]) * spec.num_qo_heads;
      EXPECT_LE(RelativeError(output.out, first * spec.v_dim(), truths[b], spec.v_dim()),
                kTolerance)
          << CpuTargetName(target) << ", sequence " << b << ": " << Describe(spec, storage, batch);
      EXPECT_LE(LseError(output.lse, first, truths[b].lse), kTolerance)
          << CpuTargetName(target) << ", LSE of sequence " << b << ": "
          << Describe(spec, storage, batch);
    }
  }
}

template <typename T, size_t kCount>
T Pick(const T (&values)[kCount], std::mt19937& random) {
  return values[random() % kCount];
}

// A spec with the arrays that it points at.
struct OwnedSpec {
  AttentionSpec spec;
  std::vector<float> slopes, sinks;
  RopeTable rope;
  bool has_mask = false;
};

void PickSpec(std::mt19937& random, bool is_rows, OwnedSpec* owned) {
  constexpr uint32_t kKvHeads[] = {1, 2, 3, 5};
  constexpr uint32_t kGroups[] = {1, 3, 4, 5, 7, 8, 9, 16};
  constexpr uint32_t kHeadDims[] = {1, 8, 15, 16, 33, 40, 64, 80, 96, 128, 256, 576};
  constexpr int32_t kWindows[] = {-1, -1, -1, 0, 1, 30, 32, 100, 255, 256, 300, 1 << 30};
  constexpr float kCaps[] = {0, 0, 1.5f, 30};
  AttentionSpec& spec = owned->spec;
  spec.num_kv_heads = Pick(kKvHeads, random);
  spec.num_qo_heads = spec.num_kv_heads * Pick(kGroups, random);
  spec.head_dim = Pick(kHeadDims, random);
  if (is_rows && random() % 4 == 0) spec.head_dim_vo = Pick(kHeadDims, random);
  spec.sm_scale = 1.0f / std::sqrt(float(spec.head_dim));
  spec.window_left = Pick(kWindows, random);
  spec.logits_soft_cap = Pick(kCaps, random);
  spec.causal = random() % 4 != 0;
  owned->has_mask = random() % 5 == 0;
  if (random() % 5 == 0) {
    for (uint32_t h = 0; h < spec.num_qo_heads; ++h) {
      owned->slopes.push_back(0.5f / float(1 + h % 7));
    }
  }
  if (random() % 5 == 0) {
    for (uint32_t h = 0; h < spec.num_qo_heads; ++h) {
      owned->sinks.push_back(h % 4 == 3 ? -INFINITY : 2.0f - float(h % 3));
    }
  }
  if (spec.head_dim >= 16 && random() % 5 == 0) {
    const uint32_t rotary_dim = spec.head_dim / 2 * (random() % 2 == 0 ? 1 : 2) / 2 * 2;
    owned->rope = std::move(RopeTable::Create(rotary_dim, kTestRopeTheta, 1, 701)).value();
    spec.rope = &owned->rope;
  }
  spec.alibi_slopes = owned->slopes;
  spec.sinks = owned->sinks;
}

TestStorage PickStorage(std::mt19937& random) {
  using Kind = TestStorage::Kind;
  constexpr Kind kKinds[] = {Kind::kBlocks, Kind::kBlocks, Kind::kNhd, Kind::kHnd, Kind::kRagged};
  constexpr KvRowType kTypes[] = {KvRowType::kF32, KvRowType::kBF16, KvRowType::kF16};
  constexpr int32_t kPageSizes[] = {1, 2, 5, 8, 16, 17, 32, 64};
  const Kind kind = Pick(kKinds, random);
  if (kind == Kind::kBlocks) return TestStorage(kind, kTypes[random() % 2], 32);
  return TestStorage(kind, Pick(kTypes, random), Pick(kPageSizes, random));
}

TestStorage PickQuantized(std::mt19937& random) {
  constexpr KvFormat kFormats[] = {KvFormat::kBF16,   KvFormat::kInt8, KvFormat::kInt8,
                                   KvFormat::kInt4,   KvFormat::kInt4, KvFormat::kFp8E4M3,
                                   KvFormat::kFp8E5M2};
  KvFormats formats;
  while (!formats.quantized()) formats = {Pick(kFormats, random), Pick(kFormats, random)};
  TestStorage storage = formats;
  storage.open_blocks = 1u << (random() % 8 < 4 ? 0 : random() % 4);
  return storage;
}

// One random batch; some of its sequences share leading pages with the first.
void CheckRandomCase(uint32_t seed, TestStorage (*pick_storage)(std::mt19937&)) {
  constexpr int32_t kKvLens[] = {0, 1, 2, 13, 31, 32, 33, 97, 127, 255, 256, 257, 511, 523, 700};
  constexpr int32_t kQLens[] = {0, 1, 1, 1, 2, 3, 5, 17, 33, 67};
  constexpr double kWorkMax = 2e6;  // multiply-adds of the truth: keeps the test short
  std::mt19937 random(seed);
  const TestStorage storage = pick_storage(random);
  OwnedSpec owned;
  PickSpec(random, storage.kind != TestStorage::Kind::kBlocks, &owned);
  if (storage.quantized()) owned.spec.rope = nullptr;
  const AttentionSpec& spec = owned.spec;
  double work = 0;
  std::vector<TestSequence> sequences;
  for (size_t count = 1 + random() % 5; sequences.size() < count;) {
    const int32_t kv_len = Pick(kKvLens, random);
    const int32_t q_len = std::min(Pick(kQLens, random), kv_len + 3);
    work += 1.0 * kv_len * q_len * spec.num_qo_heads * (spec.head_dim + spec.v_dim());
    if (work > kWorkMax && !sequences.empty()) break;
    TestSequence sequence = RandomSequence(spec, storage, kv_len, q_len, random);
    if (owned.has_mask) {
      sequence.mask.resize(size_t(q_len) * size_t(kv_len));
      for (uint8_t& bit : sequence.mask) bit = random() % 3 != 0;
      if (q_len > 1) std::fill_n(sequence.mask.begin(), kv_len, uint8_t{0});  // sees no key at all
    }
    if (!sequences.empty() && storage.kind != TestStorage::Kind::kRagged && random() % 2 == 0) {
      const int32_t tokens = std::min(kv_len, sequences[0].kv_len);
      const int32_t pages = storage.page_size;
      ShareTokens(spec, sequences, 0, tokens / pages * pages, &sequence);
    }
    sequences.push_back(std::move(sequence));
  }
  const TestBatch batch(spec, storage, std::move(sequences), random);
  AttentionPlanOptions options = {.thread_count = 1 + random() % 3};
  options.cascade = random() % 4 != 0;
  if (random() % 2 == 0) options.costs = CostsThatShare();
  CheckOnAllTargets(storage, batch, options);
}

// KVASIR_ATTENTION_CASES sets how many; scripts/soak runs 10,000.
void CheckRandomCases(uint32_t count, TestStorage (*pick_storage)(std::mt19937&)) {
  const char* cases = std::getenv("KVASIR_ATTENTION_CASES");
  if (cases != nullptr) count = uint32_t(std::atoi(cases));
  for (uint32_t i = 0; i < count; ++i) {
    CheckRandomCase(20240607 + i, pick_storage);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "case " << i;
      break;
    }
  }
}

TEST(BatchAttentionTest, AgreesWithTheTruthOnRandomBatches) { CheckRandomCases(400, PickStorage); }

TEST(BatchAttentionTest, AgreesWithTheTruthOnRandomQuantizedBatches) {
  CheckRandomCases(300, PickQuantized);
}

// The shapes of the models that we serve, prefilled whole and decoded.
TEST(BatchAttentionTest, AgreesWithTheTruthOnModelShapes) {
  struct Shape {
    uint32_t num_qo_heads, num_kv_heads, head_dim;
  };
  constexpr Shape kShapes[] = {{9, 3, 64}, {32, 8, 64}, {4, 1, 256}, {32, 8, 128}};
  std::mt19937 random(7);
  for (const Shape& shape : kShapes) {
    for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
      const AttentionSpec spec = {shape.num_qo_heads, shape.num_kv_heads, shape.head_dim,
                                  1.0f / std::sqrt(float(shape.head_dim))};
      std::vector<TestSequence> sequences;
      sequences.push_back(RandomSequence(spec, format, 300, 1, random));
      sequences.push_back(RandomSequence(spec, format, 90, 90, random));
      sequences.push_back(RandomSequence(spec, format, 260, 10, random));
      CheckOnAllTargets(format, TestBatch(spec, format, std::move(sequences), random),
                        {.thread_count = 2});
    }
  }
}

// Logits of +-hundreds: the softmax is nearly one-hot, and most weights are exactly 0.
TEST(BatchAttentionTest, LargeLogitsStayExact) {
  const AttentionSpec spec = {4, 2, 64, 6.0f};
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    std::mt19937 random(3);
    std::vector<TestSequence> sequences = {RandomSequence(spec, format, 600, 20, random)};
    const TestBatch batch(spec, format, std::move(sequences), random);
    const ReferenceOutput truth = ReferenceAttention(spec, batch.sequences()[0]);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      // A logit of 300 has an f32 step of 3e-5, which is then a relative error of a weight.
      EXPECT_LE(RelativeError(batch.Run(1), 0, truth, 64), 1e-3) << CpuTargetName(target);
    }
  }
}

TEST(BatchAttentionTest, AnEmptyBatchIsAllowed) {
  std::mt19937 random(1);
  const AttentionSpec spec = {2, 1, 16, 1.0f};
  const TestBatch batch(spec, KvFormat::kBF16, {}, random);
  EXPECT_TRUE(batch.Run(2).empty());
}

// A token that later tokens will see may be infinite or NaN without a trace in the rows before it.
TEST(BatchAttentionTest, AKeyThatARowDoesNotSeeCannotReachIt) {
  const AttentionSpec spec = {6, 2, 40, 0.2f};
  const TestStorage kStorages[] = {
      KvFormat::kF32, KvFormat::kBF16, {TestStorage::Kind::kNhd, KvRowType::kF32, 16}};
  for (const TestStorage& storage : kStorages) {
    std::mt19937 random(5);
    const TestSequence clean = RandomSequence(spec, storage, 300, 50, random);
    TestSequence poisoned = clean;
    const size_t columns = size_t{spec.num_kv_heads} * spec.head_dim;
    constexpr int32_t kPoisoned = 273;  // seen by queries 23 .. 49
    for (size_t i = 0; i < columns; ++i) {
      poisoned.k[kPoisoned * columns + i] = NAN;
      poisoned.v[kPoisoned * columns + i] = i % 2 == 0 ? INFINITY : NAN;
    }
    const TestBatch clean_batch(spec, storage, {clean}, random);
    const TestBatch poisoned_batch(spec, storage, {poisoned}, random);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      std::vector<float> expected = clean_batch.Run(1), out = poisoned_batch.Run(1);
      const size_t before = 23 * size_t{spec.num_qo_heads} * spec.head_dim;
      EXPECT_TRUE(std::isnan(out.back()));
      expected.resize(before);
      out.resize(before);
      EXPECT_EQ(out, expected) << CpuTargetName(target);
    }
  }
}

}  // namespace
}  // namespace kvasir
