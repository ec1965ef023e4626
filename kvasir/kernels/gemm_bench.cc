// gemm_bench: GEMM and GEMV of every weight format against the measured peaks of this machine, per
// instruction set.
//
//   gemm_bench [THREADS]
//
// Checks a sample of outputs against float64 first, then prints a line per target, format and row
// count: 10^9 operations a second with the share of the 4- or 8-bit (f32) peak, and for one row
// bytes of weights a second with the share of the read bandwidth. Many layers' worth of weights are
// cycled through for the one-row case, so that they come from memory.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "kvasir/base/topology.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/gguf_quants.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/kernels/peaks.h"
#include "kvasir/kernels/weight_codes.h"

namespace kvasir {
namespace {

struct Shape {
  const char* name;
  size_t outputs, inputs;
};
// gate of SmolLM2-135M (padded to a K-quant block) and of Llama-3.2-1B.
constexpr Shape kShapes[] = {{"1536x768", 1536, 768}, {"8192x2048", 8192, 2048}};
constexpr DType kDTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ4_K, DType::kQ5_0,
                             DType::kQ6_K, DType::kQ8_0, DType::kBF16, DType::kF32};
constexpr size_t kWeightBytesCycled = size_t{256} << 20;

std::vector<std::byte> RandomBlocks(DType dtype, size_t rows, size_t cols) {
  std::mt19937 rng(1);
  std::vector<float> row(cols);
  std::vector<std::byte> bytes(rows * DTypeBytes(dtype, cols));
  const size_t row_bytes = DTypeBytes(dtype, cols);
  for (size_t r = 0; r < rows; ++r) {
    std::byte* to = &bytes[r * row_bytes];
    if (CanQuantize(dtype)) {
      for (float& x : row) x = float(int(rng() % 2001) - 1000) / 1000;
      QuantizeRow(dtype, row.data(), cols, to);
      continue;
    }
    // Any bits are codes; the f16 scales stand at known places of a block.
    const size_t block_bytes = GetDTypeInfo(dtype).block_bytes;
    for (size_t i = 0; i < row_bytes; ++i) to[i] = std::byte(rng() & 0xFF);
    for (size_t block = 0; block < row_bytes; block += block_bytes) {
      const size_t scale_at = dtype == DType::kQ6_K ? size_t{Q6_KLayout::kScale} : 0;
      const size_t min_at = dtype == DType::kQ4_K ? size_t{Q4_KLayout::kMin} : scale_at;
      const uint16_t half = F16FromF32(0.001f);
      std::memcpy(to + block + scale_at, &half, 2);
      std::memcpy(to + block + min_at, &half, 2);
    }
  }
  return bytes;
}

struct Bench {
  ThreadPool& pool;
  Peaks peaks;

  void Check(const PackedWeights& weights, const GemmInput& input, MatrixView<float> out) const {
    std::vector<float> row(weights.cols());
    for (size_t n = 0; n < weights.rows(); n += 97) {
      weights.DequantizeRow(n, row.data());
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < weights.cols(); ++k) {
        const double x = input.quantized == nullptr ? double(input.plain.row(0)[k])
                                                    : double(input.quantized->codes(0)[k]) *
                                                          input.quantized->groups(0)[k / 32].scale;
        sum += x * row[k];
        magnitude += std::abs(x * row[k]);
      }
      if (!(std::abs(sum - out.row(0)[n]) <= 1e-4 * magnitude + 1e-6)) {
        std::fprintf(stderr, "gemm_bench: output %zu is %g, float64 says %g\n", n,
                     double(out.row(0)[n]), sum);
        std::exit(1);
      }
    }
  }

  void Run(DType dtype, const Shape& shape, size_t rows) const {
    const std::vector<std::byte> bytes = RandomBlocks(dtype, shape.outputs, shape.inputs);
    const size_t copies = rows > 1 ? 1 : std::max<size_t>(1, kWeightBytesCycled / bytes.size());
    std::vector<PackedWeights> weights(copies);
    for (PackedWeights& w : weights) {
      w = *PackedWeights::Pack({dtype, shape.outputs, shape.inputs, bytes.data(), {}}, false, pool);
    }
    std::vector<float> x(rows * shape.inputs), out(rows * shape.outputs);
    for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 7919 % 2001) - 1000) / 1000;
    const MatrixView<const float> plain(x.data(), rows, shape.inputs);
    const MatrixView<float> result(out.data(), rows, shape.outputs);
    QuantizedRows quantized;
    if (!quantized.Reserve(rows, shape.inputs).ok()) std::exit(1);
    QuantizeRows(plain, &quantized, pool);
    const GemmInput input{plain, weights[0].quantized() ? &quantized : nullptr, rows};
    const GemmScratch scratch = *GemmScratch::Create(shape.inputs, pool.thread_count());
    const auto call = [&](const PackedWeights& w) {
      const GemmOutput output{&w, result};
      Gemm(input, {&output, 1}, scratch, pool);
    };
    call(weights[0]);
    Check(weights[0], input, result);

    std::vector<double> seconds;
    const auto begin = std::chrono::steady_clock::now();
    do {
      const auto start = std::chrono::steady_clock::now();
      for (const PackedWeights& w : weights) call(w);
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
      seconds.push_back(taken.count() / double(copies));
    } while (std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(400) ||
             seconds.size() < 5);
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    const double gops = 2e-9 * double(rows * shape.outputs * shape.inputs) / median;
    const double gbytes = 1e-9 * double(weights[0].bytes()) / median;
    const double peak = !weights[0].quantized() ? peaks.f32_gflops
                        : CodeBits(dtype) < 8   ? peaks.int4_gops
                                                : peaks.int8_gops;
    std::printf(
        "%-9s %-5s %-10s M=%-4zu %8.1f Gop/s (%3.0f%% of peak) %7.1f GB/s (%3.0f%% of read)\n",
        std::string(CpuTargetName(ActiveCpuTarget())).c_str(),
        std::string(GetDTypeInfo(dtype).name).c_str(), shape.name, rows, gops, 100 * gops / peak,
        gbytes, 100 * gbytes / peaks.read_gbytes);
    std::fflush(stdout);
  }
};

void BenchTarget(CpuTarget target, ThreadPool& pool) {
  ScopedCpuTarget scoped(target);
  const Bench bench{pool, MeasurePeaks(pool)};
  std::printf(
      "\n%s: peaks int4 %.0f Gop/s, int8 %.0f Gop/s, f32 %.0f Gflop/s, read %.1f GB/s; barrier "
      "%.2f us\n",
      std::string(CpuTargetName(target)).c_str(), bench.peaks.int4_gops, bench.peaks.int8_gops,
      bench.peaks.f32_gflops, bench.peaks.read_gbytes, MeasureBarrierMicros(pool));
  for (const Shape& shape : kShapes) {
    for (const DType dtype : kDTypes) {
      for (const size_t rows : {1, 4, 16, 512}) bench.Run(dtype, shape, rows);
    }
  }
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) {
  const size_t threads = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : kvasir::UsableCoreCount();
  kvasir::ThreadPool pool(std::max<size_t>(1, threads));
  std::printf("%s, %zu threads\n", kvasir::CpuModelName().c_str(), pool.thread_count());
  for (const kvasir::CpuTarget target : kvasir::SupportedCpuTargets()) {
    if (target != kvasir::CpuTarget::kPortable) kvasir::BenchTarget(target, pool);
  }
}
