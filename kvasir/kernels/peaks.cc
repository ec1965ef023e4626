#include "kvasir/kernels/peaks.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/peaks.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/dot_sum-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Independent sums: enough to hide the latency of the multiply-add (4 or 5 cycles, two a cycle) and
// to fit in 16 registers.
constexpr size_t kChains = kParts == 1 ? 12 : 5;

// Makes a value in memory unknown to the compiler.
template <typename T>
HWY_INLINE void Opaque(T& value) {
  __asm__ volatile("" : "+m"(value) : : "memory");
}
// The same for registers, so that no product is computed once and reused. Costs no instruction.
HWY_INLINE void Renew(Bytes64& bytes) {
  KVASIR_FOR_PARTS(i) __asm__ volatile("" : "+v"(bytes.part[i].raw));
}

template <int kBits, int kQuad>
HWY_INLINE void AddToAll(DotSum<kBits> (&sums)[kChains], Bytes64& codes, const Bytes64& quad) {
#pragma GCC unroll 12
  for (auto& sum : sums) {
    Renew(codes);
    sum.template Add<kQuad>(codes, quad);
  }
  if constexpr (kQuad < 7) AddToAll<kBits, kQuad + 1>(sums, codes, quad);
}

// `rounds` x kChains x 8 quads of a dot product; 16 lanes x 4 products x 2 operations each.
template <int kBits>
int32_t DotRounds(size_t rounds) {
  DotSum<kBits> sums[kChains];
  for (auto& sum : sums) sum.Start(ZeroInt());
  alignas(64) uint8_t code_bytes[64];
  for (size_t i = 0; i < 64; ++i) code_bytes[i] = i % 15;
  int8_t quad_bytes[4] = {1, 2, -1, -2};
  Opaque(code_bytes);
  Opaque(quad_bytes);
  Bytes64 codes = LoadBytes(code_bytes);
  const Bytes64 quad = BroadcastQuad(quad_bytes);
  for (size_t round = 0; round < rounds; ++round) AddToAll<kBits, 0>(sums, codes, quad);
  IntLanes total = ZeroInt();
  for (auto& sum : sums) total = AddInt(total, sum.Sum());
  return hn::GetLane(total.part[0]);
}

double DotOps(size_t rounds) { return double(rounds) * kChains * 8 * kLaneCount * 4 * 2; }

int32_t Int4Rounds(size_t rounds) { return DotRounds<4>(rounds); }
int32_t Int8Rounds(size_t rounds) { return DotRounds<8>(rounds); }

int32_t F32Rounds(size_t rounds) {
  FloatLanes sums[kChains];
  for (auto& sum : sums) sum = ZeroLanes();
  float scalars[2] = {1.0001f, 0.9999f};
  Opaque(scalars);
  const FloatLanes a = SetLanes(scalars[0]), b = SetLanes(scalars[1]);
  for (size_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (size_t repeat = 0; repeat < 8; ++repeat) {
#pragma GCC unroll 12
      for (auto& sum : sums) sum = MulAdd(a, b, sum);
    }
  }
  FloatLanes total = ZeroLanes();
  for (auto& sum : sums) total = Add(total, sum);
  return static_cast<int32_t>(SumOfLanes(total));
}

double F32Ops(size_t rounds) { return double(rounds) * kChains * 8 * kLaneCount * 2; }

// Reads a buffer once, four independent streams of sums.
int32_t ReadBytes(const uint8_t* from, size_t byte_count) {
  IntLanes sums[4] = {ZeroInt(), ZeroInt(), ZeroInt(), ZeroInt()};
  for (size_t i = 0; i + 256 <= byte_count; i += 256) {
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const Bytes64 bytes = LoadBytes(from + i + 64 * j);
      KVASIR_FOR_PARTS(part) {
        sums[j].part[part] = hn::Add(sums[j].part[part], hn::BitCast(IntTag(), bytes.part[part]));
      }
    }
  }
  const IntLanes total = AddInt(AddInt(sums[0], sums[1]), AddInt(sums[2], sums[3]));
  return hn::GetLane(total.part[0]);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

namespace {

HWY_EXPORT(Int4Rounds);
HWY_EXPORT(Int8Rounds);
HWY_EXPORT(F32Rounds);
HWY_EXPORT(DotOps);
HWY_EXPORT(F32Ops);
HWY_EXPORT(ReadBytes);

constexpr int kRepetitions = 15;
constexpr size_t kReadBufferBytes = size_t{512} << 20;  // far beyond any last-level cache

volatile int32_t g_sink;  // what the loops computed, so that they are not optimised away

double SecondsOf(ThreadPool& pool, FunctionRef<void(size_t worker)> job) {
  const auto begin = std::chrono::steady_clock::now();
  pool.Run(job);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// 10^9 operations a second of `run` on all threads, the best of a few.
double BestGops(ThreadPool& pool, double ops_per_thread, FunctionRef<int32_t()> run) {
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    const double seconds = SecondsOf(pool, [&](size_t) { g_sink = run(); });
    best = std::max(best, ops_per_thread * double(pool.thread_count()) / seconds / 1e9);
  }
  return best;
}

double BestReadGbytes(ThreadPool& pool) {
  auto buffer = AlignedBuffer::Allocate(kReadBufferBytes);
  if (!buffer.ok()) return 0;
  for (size_t i = 0; i < kReadBufferBytes; i += 4096) buffer->data()[i] = std::byte(1);
  const size_t share = kReadBufferBytes / pool.thread_count() / 256 * 256;
  double best = 0;
  for (int i = 0; i < kRepetitions; ++i) {
    const double seconds = SecondsOf(pool, [&](size_t worker) {
      g_sink = HWY_DYNAMIC_DISPATCH(ReadBytes)(buffer->as<uint8_t>() + worker * share, share);
    });
    best = std::max(best, double(share * pool.thread_count()) / seconds / 1e9);
  }
  return best;
}

}  // namespace

Peaks MeasurePeaks(ThreadPool& pool) {
  constexpr size_t kRounds = 200'000;  // ~20 ms of 4-bit products
  const double dot_ops = HWY_DYNAMIC_DISPATCH(DotOps)(kRounds);
  const double f32_ops = HWY_DYNAMIC_DISPATCH(F32Ops)(kRounds);
  Peaks peaks;
  peaks.int4_gops =
      BestGops(pool, dot_ops, [] { return HWY_DYNAMIC_DISPATCH(Int4Rounds)(kRounds); });
  peaks.int8_gops =
      BestGops(pool, dot_ops, [] { return HWY_DYNAMIC_DISPATCH(Int8Rounds)(kRounds); });
  peaks.f32_gflops =
      BestGops(pool, f32_ops, [] { return HWY_DYNAMIC_DISPATCH(F32Rounds)(kRounds); });
  peaks.read_gbytes = BestReadGbytes(pool);
  return peaks;
}

double MeasureBarrierMicros(ThreadPool& pool) {
  constexpr size_t kRuns = 2001;
  std::vector<double> micros(kRuns);
  for (double& m : micros) m = 1e6 * SecondsOf(pool, [](size_t) {});
  std::nth_element(micros.begin(), micros.begin() + kRuns / 2, micros.end());
  return micros[kRuns / 2];
}

}  // namespace kvasir
#endif  // HWY_ONCE
