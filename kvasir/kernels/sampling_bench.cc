// sampling_bench: softmax + top-k 50 + top-p 0.9 over a vocabulary of 128,256, a row at a time on
// one core, against a full std::sort of the row and against std::partial_sort, per instruction set.
//
//   sampling_bench [ROUNDS]
//
// Three kinds of rows: normal (logits N(0, 3)), peaked (the same with one logit that takes almost
// everything) and flat (all equal); and three filters: top-k first, joint, and top-p alone. Each
// round times the three ways one after the other on a row of its own, which was last used many
// rows ago. Tokens are compared first: each must be the one under the same uniform number on the
// float64 distribution, but for rounding. Prints microseconds a row, smallest / median / largest,
// and the ratio of the medians.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/topology.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/sampling.h"

namespace kvasir {
namespace {

constexpr size_t kVocabSize = 128256;
constexpr size_t kRowCount = 16;  // 8 MB: beyond most second-level caches

using Row = std::vector<float>;
using Candidate = std::pair<float, TokenId>;

enum class Kind { kNormal, kPeaked, kFlat };
constexpr std::pair<Kind, const char*> kKinds[] = {
    {Kind::kNormal, "normal"}, {Kind::kPeaked, "peaked"}, {Kind::kFlat, "flat"}};

std::vector<Row> MakeRows(Kind kind) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 3);
  std::vector<Row> rows(kRowCount, Row(kVocabSize, 0.5f));
  if (kind == Kind::kFlat) return rows;
  for (Row& row : rows) {
    for (float& logit : row) logit = normal(random);
    if (kind == Kind::kPeaked) row[random() % kVocabSize] = 40;
  }
  return rows;
}

struct Filter {
  const char* name;
  SamplingParams params;
};
const Filter kFilters[] = {
    {"top-k 50, top-p 0.9", {.temperature = 0.8f, .top_k = 50, .top_p = 0.9f}},
    {"joint 50, 0.9",
     {.temperature = 0.8f,
      .top_k = 50,
      .top_p = 0.9f,
      .filter_apply_order = FilterApplyOrder::kJoint}},
    {"top-p 0.9", {.temperature = 0.8f, .top_p = 0.9f}},
};

// What a straight implementation does: softmax, rank, cut, draw in order of rank. `is_partial`
// ranks only top_k values, where there is such a bound.
class SortingSampler {
 public:
  TokenId Sample(const SamplingParams& params, double uniform, const Row& row, bool is_partial) {
    const float best = *std::max_element(row.begin(), row.end());
    ranked_.resize(row.size());
    float total = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      const float weight = std::exp((row[i] - best) / params.temperature);
      total += weight;
      ranked_[i] = {weight, TokenId(i)};
    }
    const size_t k = params.top_k > 0 ? params.top_k : row.size();
    const auto before = [](const Candidate& a, const Candidate& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    };
    if (is_partial) {
      std::partial_sort(ranked_.begin(), ranked_.begin() + k, ranked_.end(), before);
    } else {
      std::sort(ranked_.begin(), ranked_.end(), before);
    }
    double mass = total;
    if (params.filter_apply_order == FilterApplyOrder::kTopKFirst) mass = Sum(k);
    size_t kept = 0;
    double sum = 0;
    while (kept < k && sum < params.top_p * mass) sum += ranked_[kept++].first;
    double point = uniform * sum;
    size_t drawn = 0;
    while (drawn + 1 < kept && (point -= ranked_[drawn].first) >= 0) ++drawn;
    return ranked_[drawn].second;
  }

 private:
  double Sum(size_t count) const {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += ranked_[i].first;
    return sum;
  }
  std::vector<Candidate> ranked_;
};

// Whether `token` lies under `uniform` on the float64 distribution, in order of ids, give or take
// the rounding of f32 weights: 2^-23 each, far below the tolerance.
bool IsRight(const SamplingParams& params, double uniform, const Row& row, TokenId token) {
  std::vector<std::pair<double, TokenId>> ranked;
  const double best = *std::max_element(row.begin(), row.end());
  for (size_t i = 0; i < row.size(); ++i) {
    ranked.push_back({-std::exp((row[i] - best) / params.temperature), TokenId(i)});
  }
  std::sort(ranked.begin(), ranked.end());
  const size_t k = params.top_k > 0 ? params.top_k : row.size();
  double mass = 0, kept = 0;
  const bool is_joint = params.filter_apply_order == FilterApplyOrder::kJoint;
  for (size_t i = 0; i < (is_joint ? row.size() : k); ++i) mass -= ranked[i].first;
  size_t count = 0;
  while (count < k && kept < params.top_p * mass) kept -= ranked[count++].first;
  ranked.resize(count);
  double start = 0, own = 0;
  for (const auto& [weight, id] : ranked) {
    if (id < token) start -= weight;
    if (id == token) own = -weight;
  }
  const double point = uniform * kept;
  return own > 0 && point >= start - 1e-5 * kept && point <= start + own + 1e-5 * kept;
}

void CompareTokens(const SamplingParams& params, const std::vector<Row>& rows) {
  SamplingScratch scratch;
  for (uint64_t position = 0; position < 2 * rows.size(); ++position) {
    const Row& row = rows[position % rows.size()];
    const TokenId token = Sample(params, position, row, &scratch);
    if (IsRight(params, UniformFromSeed(params.seed, position), row, token)) continue;
    std::fprintf(stderr, "sampling_bench: token %d of draw %d is wrong\n", int(token),
                 int(position));
    std::exit(1);
  }
}

double MicrosOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

// "smallest / median / largest" of the samples.
std::string Spread(std::vector<double>* micros) {
  std::sort(micros->begin(), micros->end());
  char text[64];
  std::snprintf(text, sizeof(text), "%8.1f / %8.1f / %8.1f", micros->front(),
                (*micros)[micros->size() / 2], micros->back());
  return text;
}

void BenchRows(const char* kind, const Filter& filter, const std::vector<Row>& rows, int rounds) {
  CompareTokens(filter.params, rows);
  SamplingScratch scratch;
  SortingSampler sorting;
  std::vector<double> ours, sorted, partly_sorted;
  // Without top-k a partial sort has no bound, and is the full one.
  const bool has_partial = filter.params.top_k > 0;
  int64_t token_sum = 0;  // keeps the draws from being left out
  for (int round = 0; round < rounds; ++round) {
    const auto position = static_cast<uint64_t>(round);
    const Row& row = rows[position % rows.size()];
    const double uniform = UniformFromSeed(filter.params.seed, position);
    ours.push_back(MicrosOf([&] { token_sum += Sample(filter.params, position, row, &scratch); }));
    sorted.push_back(
        MicrosOf([&] { token_sum += sorting.Sample(filter.params, uniform, row, false); }));
    if (!has_partial) continue;
    partly_sorted.push_back(
        MicrosOf([&] { token_sum += sorting.Sample(filter.params, uniform, row, true); }));
  }
  const std::string our_spread = Spread(&ours), sorted_spread = Spread(&sorted);
  const auto ratio = [&](const std::vector<double>& other) {
    return other[other.size() / 2] / ours[ours.size() / 2];
  };
  std::printf("%-8s %-7s %-20s us %s   sort %s (%5.1fx)",
              std::string(CpuTargetName(ActiveCpuTarget())).c_str(), kind, filter.name,
              our_spread.c_str(), sorted_spread.c_str(), ratio(sorted));
  if (has_partial) {
    const std::string partly_spread = Spread(&partly_sorted);
    std::printf("   partial sort %s (%5.1fx)", partly_spread.c_str(), ratio(partly_sorted));
  }
  std::printf("%s\n", token_sum < 0 ? "?" : "");
  std::fflush(stdout);
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 48;
  std::printf("%s, one thread, vocabulary %zu; microseconds a row: smallest / median / largest\n",
              kvasir::CpuModelName().c_str(), kvasir::kVocabSize);
  for (const auto& [kind, name] : kvasir::kKinds) {
    const std::vector<kvasir::Row> rows = kvasir::MakeRows(kind);
    for (const kvasir::Filter& filter : kvasir::kFilters) {
      for (const kvasir::CpuTarget target : kvasir::SupportedCpuTargets()) {
        const kvasir::ScopedCpuTarget scope(target);
        kvasir::BenchRows(name, filter, rows, rounds);
      }
    }
  }
}
