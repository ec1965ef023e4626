// The attention library against this machine and against simpler ways of doing the same:
//
//   attention_bench [--threads N] [--target avx2] [--kv int8,int4] [--json] [SECTION ...]
//
//   decode    one token a sequence: share of what memory or arithmetic allows; Zipf lengths beside
//             equal ones; a plain loop over each query head as the baseline
//   prefill   share of the FMA peak, causal beside full
//   cascade   a shared prefix, with and without cascade, beside the model of docs/attention.md
//   memory    blocks, NHD and HND rows, page sizes
//   plan      microseconds of planning
//   kv        decode and prefill over the formats of --kv (all, by default), beside bf16
//
// Outputs are compared before anything is timed. The two sides of a ratio take turns; it is given
// as median (min - max) over the rounds. Layers rotate, so that keys and values of decode come from
// memory and not from the cache.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/bench_workload.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/peaks.h"

namespace kvasir {
namespace {

void ExpectSame(const std::vector<float>& a, const std::vector<float>& b, float tolerance,
                const char* what) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= tolerance)) {
      Die(std::string(what) + ": outputs differ, " + std::to_string(a[i]) + " and " +
          std::to_string(b[i]) + " at " + std::to_string(i));
    }
  }
}

// Of outputs of numbers in [-1, 1], whose weights are rounded to 2^-16 of the largest.
constexpr double kKvTolerance = 1e-4;

// What the machine can do, and what the kernels cost on it, for the target in force.
struct Machine {
  Peaks peaks;
  AttentionCosts costs;
  double attention_gflops = 0;  // of the prefill tile, the compute bound of everything else
};

class AttentionBench {
 public:
  AttentionBench(ThreadPool& pool, bool json) : pool_(pool), json_(json) {}

  void MeasureMachine() {
    machine_.peaks = MeasurePeaks(pool_);
    machine_.costs = MeasureAttentionCosts(pool_);
    Shape shape = {.spec = MakeSpec(4, 2, 128), .q_lens = {1024}, .kv_lens = {1024}};
    shape.spec.causal = false;
    Workload work(shape, 0, pool_);
    const BatchAttentionPlan plan = work.Plan(machine_.costs, true);
    const auto seconds = TakeTurns({[&] { work.Run(plan); }}, 5);
    machine_.attention_gflops = 4.0 * 1024 * 1024 * 128 * 8 / Spread::Of(seconds[0]).min * 1e-9;
    if (json_) return;
    std::printf("%s, %zu threads: read %.1f GB/s, f32 peak %.0f GFLOP/s, attention tile %.0f\n",
                Target().c_str(), pool_.thread_count(), machine_.peaks.read_gbytes,
                machine_.peaks.f32_gflops, machine_.attention_gflops);
    const AttentionCosts& c = machine_.costs;
    std::printf(
        "costs in ps: byte %.0f (%.0f cached), widen %.0f, pair %.1f, score %.0f, item %.0f\n\n",
        c.kv_byte_ps, c.cached_byte_ps, c.widen_ps, c.pair_ps, c.score_ps, c.item_ps);
  }

  void Decode() {
    Title("decode: kv heads 8, head_dim 128; the bound is min(read bandwidth, tile rate / group)");
    for (const KvFormat format : {KvFormat::kBF16, KvFormat::kF32}) {
      for (const uint32_t group : {1u, 4u, 8u}) {
        for (const int32_t batch : {1, 16}) {
          const int32_t kv_len = batch == 1 ? 16384 : 4096;
          DecodeRow(format, group, std::vector<int32_t>(size_t(batch), kv_len), "equal");
        }
      }
    }
    std::vector<int32_t> zipf;
    for (int rank = 1; rank <= 16; ++rank) zipf.push_back(std::max(16384 * 19 / 20 / rank, 1));
    ZipfRow(zipf);
    NaiveRow();
  }

  void Prefill() {
    Title("prefill: q = kv, kv heads 2, group 4; share of the measured f32 peak");
    for (const uint32_t dim : {64u, 128u}) {
      for (const int32_t len : {512, 2048}) {
        Shape full = {.spec = MakeSpec(4, 2, dim), .q_lens = {len}, .kv_lens = {len}};
        Shape causal = full;
        full.spec.causal = false;
        Workload a(full, 0, pool_), b(causal, 0, pool_);
        const BatchAttentionPlan plan_a = a.Plan(machine_.costs, true);
        const BatchAttentionPlan plan_b = b.Plan(machine_.costs, true);
        const auto seconds = TakeTurns({[&] { a.Run(plan_a); }, [&] { b.Run(plan_b); }}, 5);
        const double flops = 4.0 * len * len * dim * full.spec.num_qo_heads;
        const Spread ratio = Ratio(seconds[1], seconds[0]);
        Row("prefill dim " + std::to_string(dim) + " len " + std::to_string(len),
            {{"gflops", flops / Spread::Of(seconds[0]).median * 1e-9},
             {"share_of_peak",
              flops / Spread::Of(seconds[0]).median * 1e-9 / machine_.peaks.f32_gflops},
             {"causal_over_full", ratio.median},
             {"min", ratio.min},
             {"max", ratio.max}});
      }
    }
  }

  void Cascade() {
    Title(
        "cascade: flat time over cascade time, kv heads 32; the model is that of "
        "docs/attention.md");
    for (const uint32_t group : {1u, 4u, 8u}) {
      for (const int32_t batch : {2, 16, 64}) {
        for (const int32_t prefix : {128, 256, 512, 1024, 2048, 4096, 8192}) {
          if (batch == 64 && prefix == 8192) continue;
          CascadeRow(group, batch, prefix);
        }
      }
    }
  }

  void Memory() {
    Title("memory: time over that of blocks; decode, batch 16 of 4096, kv heads 8, dim 128, bf16");
    for (const uint32_t group : {1u, 4u}) {
      Shape blocks = DecodeShape(KvFormat::kBF16, group, std::vector<int32_t>(16, 4096));
      Workload base(blocks, kColdBytes, pool_);
      const BatchAttentionPlan base_plan = base.Plan(machine_.costs, false);
      for (const bool hnd : {true, false}) {
        for (const int32_t page_size : {1, 16, 64}) {
          Shape rows = blocks;
          rows.page_size = page_size;
          rows.is_hnd = hnd;
          rows.shuffles_pages = true;
          Workload work(rows, kColdBytes, pool_);
          const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
          const auto seconds =
              TakeTurns({[&] { work.Run(plan); }, [&] { base.Run(base_plan); }}, 5);
          const Spread ratio = Ratio(seconds[0], seconds[1]);
          Row(std::string(hnd ? "hnd" : "nhd") + " page " + std::to_string(page_size) + " group " +
                  std::to_string(group),
              {{"over_blocks", ratio.median}, {"min", ratio.min}, {"max", ratio.max}});
        }
      }
    }
  }

  // Time of bf16 over that of each format, the same shapes: above 1 is faster than bf16.
  void Formats(const std::vector<KvFormats>& formats) {
    Title("kv: time of bf16 over that of the format; SmolLM2's heads, and group 4 of head_dim 128");
    for (const AttentionSpec& spec : {MakeSpec(3, 3, 64), MakeSpec(4, 2, 128)}) {
      for (const int32_t kv_len : {512, 8192}) {
        for (const int32_t q_len : {1, 512}) FormatRows(formats, spec, q_len, kv_len);
      }
    }
  }

  void PlanTimes() {
    Title("plan: microseconds of PlanBatchAttention, decode of 2048 keys each, 8 kv heads");
    for (const int32_t batch : {1, 16, 64, 256, 1024}) {
      for (const int32_t shared : {0, 1024}) {
        Shape shape = DecodeShape(KvFormat::kBF16, 4, std::vector<int32_t>(size_t(batch), 2048));
        shape.shared_tokens = shared;
        shape.spec.num_kv_heads = 1;  // memory: the plan looks at no key
        shape.spec.num_qo_heads = 4;
        shape.spec.head_dim = 16;
        Workload work(shape, 0, pool_);
        AttentionSpec spec = shape.spec;
        BatchAttentionPlan plan;
        const AttentionPlanOptions options = {pool_.thread_count(), true, machine_.costs};
        std::vector<double> seconds;
        for (int i = 0; i < 50; ++i) {
          const double start = Now();
          if (!PlanBatchAttention(spec, work.qo_indptr(), work.kv(), options, &plan).ok())
            Die("plan");
          if (i >= 5) seconds.push_back(Now() - start);
        }
        const Spread spread = Spread::Of(seconds);
        Row("plan batch " + std::to_string(batch) + (shared > 0 ? " shared" : ""),
            {{"us", spread.median * 1e6}, {"min", spread.min * 1e6}, {"max", spread.max * 1e6}});
      }
    }
  }

 private:
  static std::string Target() { return std::string(CpuTargetName(ActiveCpuTarget())); }
  static Shape DecodeShape(KvFormat format, uint32_t group, std::vector<int32_t> kv_lens) {
    Shape shape = {.spec = MakeSpec(group, 8, 128),
                   .q_lens = std::vector<int32_t>(kv_lens.size(), 1),
                   .kv_lens = std::move(kv_lens)};
    shape.format = format;
    return shape;
  }

  void Title(const char* text) const {
    if (!json_) std::printf("%s\n", text);
  }
  void Row(const std::string& name,
           const std::vector<std::pair<const char*, double>>& fields) const {
    if (json_) {
      std::printf("{\"target\": \"%s\", \"threads\": %zu, \"row\": \"%s\"", Target().c_str(),
                  pool_.thread_count(), name.c_str());
      for (const auto& [field, value] : fields) std::printf(", \"%s\": %.5g", field, value);
      std::printf("}\n");
    } else {
      std::printf("  %-34s", name.c_str());
      for (const auto& [field, value] : fields) std::printf("  %s %.4g", field, value);
      std::printf("\n");
    }
    std::fflush(stdout);
  }

  // Bytes a second at best: reading alone, or the arithmetic of `group` rows for each byte.
  double BoundGBytes(uint32_t group, KvFormat format) const {
    const double flops_per_byte = format == KvFormat::kBF16 ? group : group / 2.0;
    return std::min(machine_.peaks.read_gbytes, machine_.attention_gflops / flops_per_byte);
  }

  void DecodeRow(KvFormat format, uint32_t group, std::vector<int32_t> kv_lens, const char* kind) {
    const size_t batch = kv_lens.size();
    Workload work(DecodeShape(format, group, std::move(kv_lens)), kColdBytes, pool_);
    const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
    const auto seconds = TakeTurns({[&] { work.Run(plan); }}, 7);
    const double gbytes = work.layer_bytes() * double(work.layer_count()) * 1e-9;
    const Spread spread = Spread::Of(seconds[0]);
    const double bound = BoundGBytes(group, format);
    Row("decode " + std::string(KvFormatName(format)) + " group " + std::to_string(group) +
            " batch " + std::to_string(batch) + " " + kind,
        {{"gbytes", gbytes / spread.median},
         {"share_of_bound", gbytes / spread.median / bound},
         {"min", gbytes / spread.max / bound},
         {"max", gbytes / spread.min / bound}});
  }

  void FormatRows(const std::vector<KvFormats>& formats, const AttentionSpec& spec, int32_t q_len,
                  int32_t kv_len) {
    // Tokens behind the last whole block as in the middle of an answer.
    Shape shape = {.spec = spec, .q_lens = {q_len}, .kv_lens = {q_len == 1 ? kv_len - 15 : kv_len}};
    // As many layers for every format as exceed the last-level cache in any.
    const size_t bytes = q_len == 1 ? kColdBytes : 0;
    shape.layers_max = 1024;
    Workload base(shape, bytes, pool_);
    const BatchAttentionPlan base_plan = base.Plan(machine_.costs, false);
    base.Run(base_plan);
    base.CheckSomeRows(kKvTolerance);
    for (const KvFormats format : formats) {
      shape.format = format;
      Workload work(shape, bytes, pool_);
      const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
      work.Run(plan);
      work.CheckSomeRows(kKvTolerance);
      const auto seconds = TakeTurns({[&] { base.Run(base_plan); }, [&] { work.Run(plan); }},
                                     kv_len < 1024 ? 15 : 7);
      const Spread ratio = Ratio(seconds[0], seconds[1]);
      Row(std::string(q_len == 1 ? "decode " : "prefill ") + KvFormatsName(format) + " group " +
              std::to_string(spec.group_size()) + " dim " + std::to_string(spec.head_dim) +
              " kv_len " + std::to_string(kv_len),
          {{"bf16_over", ratio.median},
           {"min", ratio.min},
           {"max", ratio.max},
           {"us_per_layer", Spread::Of(seconds[1]).median * 1e6 / double(work.layer_count())}});
    }
  }

  void ZipfRow(const std::vector<int32_t>& zipf) {
    int32_t sum = 0;
    for (const int32_t len : zipf) sum += len;
    const std::vector<int32_t> equal(zipf.size(), sum / int32_t(zipf.size()));
    Workload a(DecodeShape(KvFormat::kBF16, 4, zipf), kColdBytes, pool_);
    Workload b(DecodeShape(KvFormat::kBF16, 4, equal), kColdBytes, pool_);
    const BatchAttentionPlan plan_a = a.Plan(machine_.costs, false);
    const BatchAttentionPlan plan_b = b.Plan(machine_.costs, false);
    const auto seconds = TakeTurns({[&] { a.Run(plan_a); }, [&] { b.Run(plan_b); }}, 7);
    const double per_byte_a = a.layer_bytes() * double(a.layer_count());
    const double per_byte_b = b.layer_bytes() * double(b.layer_count());
    Spread ratio = Ratio(seconds[0], seconds[1]);
    const double scale = per_byte_b / per_byte_a;
    Row("zipf lengths over equal, per byte",
        {{"ratio", ratio.median * scale}, {"min", ratio.min * scale}, {"max", ratio.max * scale}});
  }

  void NaiveRow() {
    for (const uint32_t group : {1u, 4u}) {
      Shape shape = DecodeShape(KvFormat::kF32, group, std::vector<int32_t>(16, 2048));
      shape.page_size = 16;
      Workload work(shape, kColdBytes, pool_), naive(shape, kColdBytes, pool_);
      const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
      work.Run(plan);
      naive.RunNaive();
      ExpectSame(work.out(), naive.out(), 1e-5f, "naive");
      const auto seconds = TakeTurns({[&] { naive.RunNaive(); }, [&] { work.Run(plan); }}, 3);
      const Spread ratio = Ratio(seconds[0], seconds[1]);
      Row("per-head loop over ours, f32 group " + std::to_string(group),
          {{"ratio", ratio.median}, {"min", ratio.min}, {"max", ratio.max}});
    }
  }

  void CascadeRow(uint32_t group, int32_t batch, int32_t prefix) {
    constexpr int32_t kSuffix = 128;
    Shape shape =
        DecodeShape(KvFormat::kBF16, group, std::vector<int32_t>(size_t(batch), prefix + kSuffix));
    // So many that the heads' prefix of 4096 tokens, 64 MiB, is out of the last-level cache when
    // the next sequence reads it.
    shape.spec = MakeSpec(group, 32, 128);
    shape.shared_tokens = prefix;
    Workload work(shape, kColdBytes, pool_);
    const BatchAttentionPlan flat = work.Plan(machine_.costs, false);
    const BatchAttentionPlan cascade = work.Plan(machine_.costs, true);
    work.Run(flat);
    const std::vector<float> expected = work.out();
    work.Run(cascade);
    ExpectSame(work.out(), expected, 0, "cascade");
    const auto seconds = TakeTurns({[&] { work.Run(flat); }, [&] { work.Run(cascade); }}, 5);
    const Spread ratio = Ratio(seconds[0], seconds[1]);
    // Time in units of reading one key and value: see docs/attention.md.
    const double ridge = machine_.attention_gflops / machine_.peaks.read_gbytes;
    const double compute = group / ridge;
    const double flat_time = double(batch) * (prefix + kSuffix) * std::max(1.0, compute);
    const double cascade_time = std::max(double(prefix), double(batch) * prefix * compute) +
                                double(batch) * kSuffix * std::max(1.0, compute);
    const bool used = std::any_of(
        cascade.work_items().begin(), cascade.work_items().end(),
        [](const AttentionWorkItem& item) { return item.row_end - item.row_begin > 1; });
    Row("cascade group " + std::to_string(group) + " batch " + std::to_string(batch) + " prefix " +
            std::to_string(prefix),
        {{"flat_over_cascade", ratio.median},
         {"min", ratio.min},
         {"max", ratio.max},
         {"model", flat_time / cascade_time},
         {"used", used ? 1.0 : 0.0}});
  }

  ThreadPool& pool_;
  bool json_;
  Machine machine_;
};

// "int8,k8v4".
std::vector<KvFormats> ReadFormats(const std::string& names) {
  std::vector<KvFormats> formats;
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    const std::optional<KvFormats> format = KvFormatsFromName(name);
    if (!format) Die("--kv " + name + " is no format; allowed are " + KvFormatsHelp());
    formats.push_back(*format);
    begin = end + 1;
  }
  return formats;
}

int Main(int argc, char** argv) {
  size_t threads = 2;
  bool json = false;
  std::set<std::string> sections;
  std::vector<CpuTarget> targets;
  std::vector<KvFormats> formats;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      threads = size_t(std::max(std::atoi(argv[++i]), 1));
    } else if (argument == "--target" && i + 1 < argc) {
      const std::string name = argv[++i];
      for (const CpuTarget target : SupportedCpuTargets()) {
        if (CpuTargetName(target) == name) targets.push_back(target);
      }
      if (targets.empty()) Die("--target " + name + " is not one that this CPU runs");
    } else if (argument == "--kv" && i + 1 < argc) {
      formats = ReadFormats(argv[++i]);
    } else if (argument[0] == '-') {
      Die("unknown option " + argument + "; the file's head says what there is");
    } else {
      sections.insert(argument);
    }
  }
  if (targets.empty()) {
    for (const CpuTarget target : SupportedCpuTargets()) {
      if (target != CpuTarget::kPortable) targets.push_back(target);
    }
  }
  if (formats.empty()) formats = ReadFormats("int8,k8v4,int4,fp8_e4m3,fp8_e5m2");
  ThreadPool pool(threads);
  for (const CpuTarget target : targets) {
    const ScopedCpuTarget scope(target);
    AttentionBench bench(pool, json);
    bench.MeasureMachine();
    const auto wants = [&](const char* name) { return sections.empty() || sections.count(name); };
    if (wants("decode")) bench.Decode();
    if (wants("prefill")) bench.Prefill();
    if (wants("cascade")) bench.Cascade();
    if (wants("memory")) bench.Memory();
    if (wants("plan")) bench.PlanTimes();
    if (wants("kv")) bench.Formats(formats);
  }
  return 0;
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) { return kvasir::Main(argc, argv); }
