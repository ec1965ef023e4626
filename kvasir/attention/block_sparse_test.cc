// Block-sparse attention is attention with a mask: every case against the float64 truth of the
// dense M x N mask that its lists mean.

#include "kvasir/attention/block_sparse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr double kTolerance = 5e-6;  // as in batch_attention_test.cc

AttentionSpec Spec() {
  AttentionSpec spec = {6, 2, 40, 0.2f};
  spec.causal = false;
  return spec;
}

// A random matrix of blocks, and what each row sees.
struct Blocks {
  Blocks(int32_t m, int32_t n, int32_t r, int32_t c, bool has_mask, std::mt19937& random)
      : seen(size_t(m) * size_t(n)) {
    indptr.push_back(0);
    std::vector<uint8_t> bits;
    for (int32_t row = 0; row < m / r; ++row) {
      for (int32_t column = n / c - 1; column >= 0; --column) {  // any order will do
        if (row == 1 || random() % 2 == 0) continue;             // row block 1 sees nothing
        indices.push_back(column);
        for (int32_t bit = 0; bit < r * c; ++bit) {
          const bool is_seen = !has_mask || random() % 3 != 0;
          bits.push_back(is_seen);
          seen[size_t((row * r + bit / c) * n + column * c + bit % c)] = is_seen;
        }
      }
      indptr.push_back(int32_t(indices.size()));
    }
    if (has_mask) {
      packed.resize((bits.size() + 7) / 8);
      for (size_t i = 0; i < bits.size(); ++i) packed[i / 8] |= uint8_t(bits[i] << (i % 8));
    }
    matrix = {.m = m, .n = n, .r = r, .c = c, .indptr = indptr, .indices = indices};
    matrix.packed_mask = packed;
  }

  std::vector<int32_t> indptr, indices;
  std::vector<uint8_t> packed, seen;
  BlockSparseMatrix matrix;
};

TEST(BlockSparseTest, AgreesWithTheTruthOfTheMask) {
  struct Shape {
    int32_t m, n, r, c;
  };
  constexpr Shape kShapes[] = {{8, 64, 1, 1}, {24, 160, 4, 32}, {21, 90, 7, 9}, {64, 512, 64, 64}};
  const AttentionSpec spec = Spec();
  for (const Shape& shape : kShapes) {
    for (const bool has_mask : {false, true}) {
      std::mt19937 random(uint32_t(shape.m));
      const Blocks blocks(shape.m, shape.n, shape.r, shape.c, has_mask, random);
      TestSequence sequence =
          RandomSequence(spec, TestStorage(KvFormat::kF32), shape.n, shape.m, random);
      sequence.mask = blocks.seen;
      const KvRows rows = F32Rows(spec, &sequence);
      const ReferenceOutput truth = ReferenceAttention(spec, sequence);
      const size_t row_count = size_t(shape.m);
      BlockSparseAttentionPlan plan;
      const Status status =
          PlanBlockSparseAttention(spec, blocks.matrix, rows, {.thread_count = 2}, &plan);
      ASSERT_TRUE(status.ok()) << status.message();
      const BlockSparseAttentionPlan moved = std::move(plan);
      for (const CpuTarget target : SupportedCpuTargets()) {
        const ScopedCpuTarget scope(target);
        ThreadPool pool(2);
        std::vector<float> out(truth.out.size(), NAN), lse(truth.lse.size(), NAN);
        const size_t allocations = AllocationCount();
        moved.Run(rows, MatrixView<const float>(sequence.q.data(), row_count, 6 * 40),
                  MatrixView<float>(out.data(), row_count, 6 * 40),
                  MatrixView<float>(lse.data(), row_count, 6), pool);
        EXPECT_EQ(AllocationCount(), allocations);
        const OutputError error = CompareWithReference(out, lse, truth);
        EXPECT_LE(error.out, kTolerance) << CpuTargetName(target) << ", M = " << shape.m;
        EXPECT_LE(error.lse, kTolerance) << CpuTargetName(target) << ", M = " << shape.m;
      }
    }
  }
}

TEST(BlockSparseTest, ABadArgumentIsNamed) {
  const AttentionSpec spec = Spec();
  std::mt19937 random(1);
  TestSequence sequence = RandomSequence(spec, TestStorage(KvFormat::kF32), 8, 4, random);
  const KvRows rows = F32Rows(spec, &sequence);
  const std::vector<int32_t> indptr = {0, 1, 2}, indices = {0, 1};
  const BlockSparseMatrix good = {
      .m = 4, .n = 8, .r = 2, .c = 4, .indptr = indptr, .indices = indices};
  BlockSparseAttentionPlan plan;
  const auto refusal = [&](auto change) {
    BlockSparseMatrix matrix = good;
    change(&matrix);
    return PlanBlockSparseAttention(spec, matrix, rows, {}, &plan).message();
  };
  EXPECT_EQ(refusal([](BlockSparseMatrix*) {}), "");
  EXPECT_EQ(refusal([](BlockSparseMatrix* m) { m->m = 5; }),
            "M is 5, allowed are multiples of R = 2");
  EXPECT_EQ(refusal([](BlockSparseMatrix* m) { m->c = 0; }), "C is 0, allowed is 1 and above");
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->indptr = m->indptr.first(2); }),
            "indptr has 2 entries, M / R + 1 = 3 are needed");
  const std::vector<int32_t> falling = {0, 2, 1}, late = {1, 1, 2}, outside = {0, 2};
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->indptr = falling; }),
            "indptr falls from 2 to 1 at entry 2");
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->indptr = late; }), "indptr[0] is not 0");
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->indices = m->indices.first(1); }),
            "indices has 1 entries, indptr asks for 2");
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->indices = outside; }),
            "indices[1] is 2, allowed is 0 to N / C - 1 = 1");
  const std::vector<uint8_t> bits(1);
  EXPECT_EQ(refusal([&](BlockSparseMatrix* m) { m->packed_mask = bits; }),
            "mask has 1 bytes, nnz * R * C bits need 2");
}

}  // namespace
}  // namespace kvasir
