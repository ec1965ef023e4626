#include "kvasir/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kvasir/formats/float16.h"
#include "kvasir/formats/gguf_quants.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/gemm_tiles.h"

namespace kvasir {
namespace {

constexpr DType kAllDTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                                DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// Where the f16 numbers of a block lie; every other byte may be anything.
std::vector<size_t> HalfOffsets(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {0, 2};
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ6_K:
      return {Q6_KLayout::kScale};
    default:
      return {0};
  }
}

// A row-major matrix of random blocks, with its values as GGUF defines them.
struct TestWeights {
  DType dtype;
  size_t rows, cols;
  std::vector<std::byte> bytes;
  std::vector<float> values;  // [rows, cols]
};

TestWeights MakeWeights(DType dtype, size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  TestWeights w{dtype, rows, cols, {}, std::vector<float>(rows * cols)};
  const DTypeInfo& info = GetDTypeInfo(dtype);
  w.bytes.resize(rows * DTypeBytes(dtype, cols));
  if (info.block_elements == 1) {
    for (size_t i = 0; i < rows * cols; ++i) {
      const float x = normal(rng);
      const uint16_t half = dtype == DType::kF16 ? F16FromF32(x) : BF16FromF32(x);
      if (dtype == DType::kF32) {
        std::memcpy(&w.bytes[4 * i], &x, 4);
      } else {
        std::memcpy(&w.bytes[2 * i], &half, 2);
      }
    }
  } else {
    for (std::byte& b : w.bytes) b = std::byte(rng() & 0xFF);
    for (size_t block = 0; block < w.bytes.size(); block += info.block_bytes) {
      for (const size_t offset : HalfOffsets(dtype)) {
        // Now and then a subnormal or zero scale.
        const float scale = rng() % 16 == 0 ? 1e-6f * (rng() % 3) : normal(rng) * 0.1f;
        const uint16_t half = F16FromF32(scale);
        std::memcpy(&w.bytes[block + offset], &half, 2);
      }
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    DequantizeRow(dtype, &w.bytes[r * DTypeBytes(dtype, cols)], cols, &w.values[r * cols]);
  }
  return w;
}

std::vector<float> MakeRows(size_t rows, size_t cols, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(rows * cols);
  for (float& v : x) v = normal(rng) * (rng() % 50 == 0 ? 8 : 1);
  // An all-zero group, and a row of zeros when there are enough rows.
  for (size_t k = 0; k < 32 && k < cols; ++k) x[k] = 0;
  if (rows > 2) std::fill(&x[cols], &x[2 * cols], 0.0f);
  return x;
}

class GemmTest : public ::testing::Test {
 protected:
  // Runs one product; quantises the rows when the weights are quantised.
  std::vector<float> Run(const PackedWeights& packed, std::vector<float> x, size_t rows,
                         ThreadPool& pool, const float* bias = nullptr,
                         const std::vector<float>* residual = nullptr) {
    MatrixView<const float> plain(x.data(), rows, packed.cols());
    GemmInput input{plain, nullptr, rows};
    QuantizedRows quantized;
    if (packed.quantized()) {
      EXPECT_TRUE(quantized.Reserve(rows, packed.cols()).ok());
      QuantizeRows(plain, &quantized, pool);
      input.quantized = &quantized;
    }
    std::vector<float> out = residual ? *residual : std::vector<float>(rows * packed.rows(), -7);
    auto scratch = GemmScratch::Create(packed.cols(), pool.thread_count());
    EXPECT_TRUE(scratch.ok());
    const GemmOutput output{&packed, MatrixView<float>(out.data(), rows, packed.rows()), bias,
                            residual != nullptr};
    Gemm(input, {&output, 1}, *scratch, pool);
    return out;
  }

  static PackedWeights Pack(const TestWeights& w, ThreadPool& pool, bool dequantize = false) {
    auto packed =
        PackedWeights::Pack({w.dtype, w.rows, w.cols, w.bytes.data(), {}}, dequantize, pool);
    EXPECT_TRUE(packed.ok());
    return std::move(*packed);
  }

  ThreadPool pool_{2};
};

// The values that the kernel sees: the rows themselves, or codes * scale.
std::vector<double> SeenRows(const PackedWeights& packed, const std::vector<float>& x, size_t rows,
                             ThreadPool& pool) {
  std::vector<double> seen(x.begin(), x.end());
  if (!packed.quantized()) return seen;
  QuantizedRows quantized;
  EXPECT_TRUE(quantized.Reserve(rows, packed.cols()).ok());
  QuantizeRows(MatrixView<const float>(x.data(), rows, packed.cols()), &quantized, pool);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t k = 0; k < packed.cols(); ++k) {
      seen[r * packed.cols() + k] =
          double(quantized.codes(r)[k]) * quantized.groups(r)[k / 32].scale;
    }
  }
  return seen;
}

TEST_F(GemmTest, AgreesWithFloat64OnEveryTargetAndFormat) {
  for (const CpuTarget target : SupportedCpuTargets()) {
    ScopedCpuTarget scoped(target);
    for (const DType dtype : kAllDTypes) {
      const bool super = GetDTypeInfo(dtype).block_elements == 256;
      const size_t cols = super ? 512 : GetDTypeInfo(dtype).block_elements == 1 ? 71 : 96;
      for (const size_t outputs : {1, 16, 47, 96}) {
        const TestWeights w = MakeWeights(dtype, outputs, cols, 1 + outputs);
        const PackedWeights packed = Pack(w, pool_);
        for (const size_t rows : {1, 2, 3, 5, 7, 8, 13, 30}) {
          const std::vector<float> x = MakeRows(rows, cols, 100 + rows);
          const std::vector<double> seen = SeenRows(packed, x, rows, pool_);
          const std::vector<float> out = Run(packed, x, rows, pool_);
          for (size_t r = 0; r < rows; ++r) {
            for (size_t n = 0; n < outputs; ++n) {
              double sum = 0, magnitude = 0;
              for (size_t k = 0; k < cols; ++k) {
                const double product = seen[r * cols + k] * w.values[n * cols + k];
                sum += product;
                magnitude += std::abs(product);
              }
              // Codes and minimum parts cancel within a value: the parts can be 32 times as large
              // as the value (minimum against code); each of cols / 32 + 3 roundings is 2^-24 of
              // them.
              const double tolerance =
                  (cols / 32.0 + (packed.quantized() ? 3.0 : cols)) * 0x1p-24 * 32 * magnitude;
              ASSERT_NEAR(out[r * outputs + n], sum, tolerance + 1e-30)
                  << CpuTargetName(target) << " " << GetDTypeInfo(dtype).name << " rows " << rows
                  << " outputs " << outputs << " row " << r << " output " << n;
            }
          }
        }
      }
    }
  }
}

TEST_F(GemmTest, RowsDoNotDependOnTheirNeighboursThreadsOrVectorWidth) {
  ThreadPool one(1);
  for (const DType dtype : kAllDTypes) {
    const size_t cols = 512, outputs = 80, rows = 61;
    const TestWeights w = MakeWeights(dtype, outputs, cols, 3);
    const std::vector<float> x = MakeRows(rows, cols, 4);
    std::vector<float> first;
    for (const CpuTarget target : SupportedCpuTargets()) {
      if (NumericsClass(target) != NumericsClass(SupportedCpuTargets().back())) continue;
      ScopedCpuTarget scoped(target);
      const PackedWeights packed = Pack(w, pool_);
      const std::vector<float> all = Run(packed, x, rows, pool_);
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << CpuTargetName(target) << " " << GetDTypeInfo(dtype).name;
      EXPECT_EQ(all, Run(packed, x, rows, one));
      for (const size_t step : {1, 2, 5, 7, 8, 32}) {
        for (size_t r = 0; r < rows; r += step) {
          const size_t count = std::min(step, rows - r);
          const std::vector<float> part(&x[r * cols], &x[r * cols] + count * cols);
          const std::vector<float> out = Run(packed, part, count, pool_);
          const std::vector<float> expected(&all[r * outputs], &all[r * outputs] + count * outputs);
          ASSERT_EQ(out, expected) << GetDTypeInfo(dtype).name << " step " << step << " row " << r;
        }
      }
    }
  }
}

TEST_F(GemmTest, QuantisedRowsAreTheSameOnEveryTarget) {
  const size_t rows = 5, cols = 256;
  const std::vector<float> x = MakeRows(rows, cols, 9);
  std::vector<int8_t> first;
  for (const CpuTarget target : SupportedCpuTargets()) {
    ScopedCpuTarget scoped(target);
    QuantizedRows quantized;
    ASSERT_TRUE(quantized.Reserve(rows, cols).ok());
    QuantizeRows(MatrixView<const float>(x.data(), rows, cols), &quantized, pool_);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t g = 0; g < cols / 32; ++g) {
        int32_t sum = 0, low = 0;
        float largest = 0;
        for (size_t k = 0; k < 32; ++k) {
          const int32_t code = quantized.codes(r)[32 * g + k];
          const float value = x[r * cols + 32 * g + k];
          sum += code;
          if (k < 16) low += code;
          largest = std::max(largest, std::abs(value));
          // Half a step, and what rounding the scale and the quotient adds.
          EXPECT_NEAR(code * quantized.groups(r)[g].scale, value,
                      quantized.groups(r)[g].scale * 0.5001f);
        }
        EXPECT_EQ(quantized.groups(r)[g].neg8_sum, -8 * sum);
        EXPECT_EQ(quantized.groups(r)[g].neg8_sum_low, -8 * low);
        EXPECT_EQ(quantized.groups(r)[g].scale, largest / 127.0f);
      }
    }
    const std::vector<int8_t> codes(quantized.codes(0), quantized.codes(0) + rows * cols);
    if (first.empty()) first = codes;
    EXPECT_EQ(codes, first) << CpuTargetName(target);
  }
}

TEST_F(GemmTest, BiasAndResidualAreAddedOnce) {
  const size_t rows = 9, cols = 64, outputs = 40;
  const TestWeights w = MakeWeights(DType::kQ8_0, outputs, cols, 5);
  const PackedWeights packed = Pack(w, pool_);
  const std::vector<float> x = MakeRows(rows, cols, 6), bias = MakeRows(1, outputs, 7),
                           residual = MakeRows(rows, outputs, 8);
  const std::vector<float> plain = Run(packed, x, rows, pool_);
  const std::vector<float> both = Run(packed, x, rows, pool_, bias.data(), &residual);
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_EQ(both[i], residual[i] + (plain[i] + bias[i % outputs]));
  }
}

TEST_F(GemmTest, RowsQuantisedInTwoAreNearlyExact) {
  const size_t cols = 256, outputs = 40;
  const TestWeights w = MakeWeights(DType::kQ8_0, outputs, cols, 12);
  const PackedWeights packed = Pack(w, pool_);
  std::vector<std::vector<float>> by_row_count;
  for (const size_t rows : {1, 3, 4, 29}) {
    const std::vector<float> x = MakeRows(29, cols, 13);
    QuantizedRows quantized;
    ASSERT_TRUE(quantized.Reserve(2 * rows, cols).ok());
    quantized.Resize(2 * rows, cols);
    for (size_t r = 0; r < rows; ++r) QuantizeRowInTwo(&x[r * cols], r, &quantized);
    std::vector<float> out(rows * outputs);
    auto scratch = GemmScratch::Create(cols, 2);
    ASSERT_TRUE(scratch.ok());
    GemmOutput output{&packed, MatrixView<float>(out.data(), rows, outputs)};
    output.paired = true;
    Gemm({{}, &quantized, 2 * rows}, {&output, 1}, *scratch, pool_);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t n = 0; n < outputs; ++n) {
        double sum = 0, steps = 0, magnitude = 0;
        for (size_t k = 0; k < cols; ++k) {
          const double weight = w.values[n * cols + k];
          sum += weight * x[r * cols + k];
          magnitude += std::abs(weight * x[r * cols + k]);
          // Half a step of the finer codes, whose scale is at most half a coarse step / 127.
          steps += std::abs(weight) * quantized.groups(2 * r)[k / 32].scale * 0.5 / 127 * 0.51;
        }
        ASSERT_NEAR(out[r * outputs + n], sum, steps + 1e-5 * magnitude + 1e-30);
      }
    }
    // The first row is the same however many follow.
    by_row_count.emplace_back(out.begin(), out.begin() + outputs);
    EXPECT_EQ(by_row_count.back(), by_row_count.front());
  }
}

TEST_F(GemmTest, SeveralProductsShareACall) {
  const size_t rows = 3, cols = 64;
  const TestWeights a = MakeWeights(DType::kQ4_0, 70, cols, 1);
  const TestWeights b = MakeWeights(DType::kQ8_0, 5, cols, 2);
  const PackedWeights packed_a = Pack(a, pool_), packed_b = Pack(b, pool_);
  const std::vector<float> x = MakeRows(rows, cols, 6);
  QuantizedRows quantized;
  ASSERT_TRUE(quantized.Reserve(rows, cols).ok());
  const MatrixView<const float> plain(x.data(), rows, cols);
  QuantizeRows(plain, &quantized, pool_);
  std::vector<float> out(rows * 75);
  const MatrixView<float> both(out.data(), rows, 75);
  const GemmOutput outputs[] = {{&packed_a, both.Cols(0, 70)}, {&packed_b, both.Cols(70, 5)}};
  auto scratch = GemmScratch::Create(cols, 2);
  ASSERT_TRUE(scratch.ok());
  Gemm({plain, &quantized, rows}, outputs, *scratch, pool_);
  const std::vector<float> out_a = Run(packed_a, x, rows, pool_);
  const std::vector<float> out_b = Run(packed_b, x, rows, pool_);
  for (size_t r = 0; r < rows; ++r) {
    for (size_t n = 0; n < 70; ++n) ASSERT_EQ(both.row(r)[n], out_a[r * 70 + n]);
    for (size_t n = 0; n < 5; ++n) ASSERT_EQ(both.row(r)[70 + n], out_b[r * 5 + n]);
  }
}

TEST_F(GemmTest, PackedRowsDequantiseToTheSourceValuesInAnyOrder) {
  for (const DType dtype : kAllDTypes) {
    const size_t rows = 37, cols = 256;
    const TestWeights w = MakeWeights(dtype, rows, cols, 11);
    std::vector<uint32_t> order(rows);
    for (size_t r = 0; r < rows; ++r) order[r] = (r * 5 + 3) % rows;
    for (const bool dequantize : {false, true}) {
      auto packed =
          PackedWeights::Pack({dtype, rows, cols, w.bytes.data(), order}, dequantize, pool_);
      ASSERT_TRUE(packed.ok());
      std::vector<float> row(cols);
      for (size_t r = 0; r < rows; ++r) {
        packed->DequantizeRow(r, row.data());
        for (size_t k = 0; k < cols; ++k) {
          ASSERT_EQ(row[k], w.values[order[r] * cols + k]) << GetDTypeInfo(dtype).name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace kvasir
