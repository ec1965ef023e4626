#include "kvasir/eval/kv_map_search.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// Tiles are multiples of it.
constexpr size_t kUnitBytes = 64;
constexpr double kNever = std::numeric_limits<double>::infinity();
// Less than this is what another text would turn around.
constexpr double kGainMin = 0.01;

struct Neighbour {
  KvMap map;
  double kl = 0;  // estimated
};

// All maps that fit and differ from `map` in one or two tensors, best first.
std::vector<Neighbour> NeighboursOf(std::span<const KvChoices> tensors, const KvMap& map,
                                    size_t bytes_max) {
  const size_t bytes = KvMapBytes(tensors, map);
  const double kl = KvMapKl(tensors, map);
  struct Move {
    size_t tensor, choice;
    ptrdiff_t bytes;
    double kl;
  };
  std::vector<Move> moves;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const KvChoice& now = tensors[t][map[t]];
    for (size_t c = 0; c < tensors[t].size(); ++c) {
      if (c == map[t]) continue;
      moves.push_back(
          {t, c, ptrdiff_t(tensors[t][c].bytes) - ptrdiff_t(now.bytes), tensors[t][c].kl - now.kl});
    }
  }
  std::vector<Neighbour> neighbours;
  const auto add = [&](const Move& first, const Move* second) {
    const ptrdiff_t change = first.bytes + (second ? second->bytes : 0);
    if (ptrdiff_t(bytes) + change > ptrdiff_t(bytes_max)) return;
    Neighbour neighbour{map, kl + first.kl + (second ? second->kl : 0)};
    neighbour.map[first.tensor] = first.choice;
    if (second) neighbour.map[second->tensor] = second->choice;
    neighbours.push_back(std::move(neighbour));
  };
  for (size_t i = 0; i < moves.size(); ++i) {
    add(moves[i], nullptr);
    for (size_t j = i + 1; j < moves.size(); ++j) {
      if (moves[i].tensor != moves[j].tensor) add(moves[i], &moves[j]);
    }
  }
  std::stable_sort(neighbours.begin(), neighbours.end(),
                   [](const Neighbour& a, const Neighbour& b) { return a.kl < b.kl; });
  return neighbours;
}

}  // namespace

size_t KvMapBytes(std::span<const KvChoices> tensors, const KvMap& map) {
  size_t bytes = 0;
  for (size_t t = 0; t < tensors.size(); ++t) bytes += tensors[t][map[t]].bytes;
  return bytes;
}

double KvMapKl(std::span<const KvChoices> tensors, const KvMap& map) {
  double kl = 0;
  for (size_t t = 0; t < tensors.size(); ++t) kl += tensors[t][map[t]].kl;
  return kl;
}

std::optional<KvMap> ChooseKvMap(std::span<const KvChoices> tensors, size_t bytes_max) {
  size_t largest = 0;
  for (const KvChoices& choices : tensors) {
    KVASIR_CHECK(!choices.empty());
    largest += std::max_element(choices.begin(), choices.end(), [](const auto& a, const auto& b) {
                 return a.bytes < b.bytes;
               })->bytes;
  }
  const size_t units = std::min(bytes_max, largest) / kUnitBytes;
  // best[u]: the smallest sum of the tensors so far in exactly u units; picked[t][u]: the choice of
  // tensor t in it.
  std::vector<double> best(units + 1, kNever);
  best[0] = 0;
  std::vector<std::vector<uint8_t>> picked(tensors.size(), std::vector<uint8_t>(units + 1));
  for (size_t t = 0; t < tensors.size(); ++t) {
    std::vector<double> next(units + 1, kNever);
    for (size_t c = 0; c < tensors[t].size(); ++c) {
      KVASIR_CHECK(tensors[t][c].bytes % kUnitBytes == 0 && c < 256);
      const size_t size = tensors[t][c].bytes / kUnitBytes;
      for (size_t u = size; u <= units; ++u) {
        const double sum = best[u - size] + tensors[t][c].kl;
        if (sum < next[u]) {
          next[u] = sum;
          picked[t][u] = static_cast<uint8_t>(c);
        }
      }
    }
    best = std::move(next);
  }
  const auto end = std::min_element(best.begin(), best.end());
  if (*end == kNever) return std::nullopt;
  KvMap map(tensors.size());
  size_t u = size_t(end - best.begin());
  for (size_t t = tensors.size(); t-- > 0;) {
    map[t] = picked[t][u];
    u -= tensors[t][map[t]].bytes / kUnitBytes;
  }
  return map;
}

Result<KvMapRefinement> RefineKvMap(std::span<const KvChoices> tensors, const KvMap& start,
                                    size_t bytes_max, size_t measure_count_max,
                                    const std::function<Result<double>(const KvMap&)>& measure) {
  KvMapRefinement best;
  best.map = start;
  KVASIR_ASSIGN_OR_RETURN(best.kl, measure(start));
  best.start_kl = best.kl;
  std::set<KvMap> measured = {start};
  bool is_better = true;
  while (is_better && best.measured_count < measure_count_max) {
    is_better = false;
    for (const Neighbour& neighbour : NeighboursOf(tensors, best.map, bytes_max)) {
      if (best.measured_count == measure_count_max) break;
      if (!measured.insert(neighbour.map).second) continue;
      ++best.measured_count;
      KVASIR_ASSIGN_OR_RETURN(const double kl, measure(neighbour.map));
      if (kl > best.kl * (1 - kGainMin)) continue;
      best.kl = kl;
      best.map = neighbour.map;
      is_better = true;
      break;  // go on from there
    }
  }
  return best;
}

}  // namespace kvasir
