// KvMapSearch: which format each layer's keys and values get when all together may take so many
// bytes. The cost of a choice is the divergence that it alone causes; the sum over the layers is an
// estimate of what they cause together, so the search is in two steps: the map with the smallest
// sum (exact), then neighbours of it whose divergence is measured. Pure functions but for the
// measuring, any thread.

#ifndef KVASIR_EVAL_KV_MAP_SEARCH_H_
#define KVASIR_EVAL_KV_MAP_SEARCH_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

// One format for one tensor (a layer's keys, or its values).
struct KvChoice {
  size_t bytes = 0;  // of a block, a multiple of 64
  double kl = 0;     // when this tensor alone is in the format
};
using KvChoices = std::vector<KvChoice>;  // of one tensor, at least one

// A choice for each tensor, by index.
using KvMap = std::vector<size_t>;

size_t KvMapBytes(std::span<const KvChoices> tensors, const KvMap& map);
double KvMapKl(std::span<const KvChoices> tensors, const KvMap& map);

// The map of at most `bytes_max` bytes with the smallest sum of divergences (dynamic programming
// over bytes in steps of 64); of equal sums one with the fewest bytes. Nullopt when the smallest
// choices together are larger.
std::optional<KvMap> ChooseKvMap(std::span<const KvChoices> tensors, size_t bytes_max);

struct KvMapRefinement {
  KvMap map;
  double kl = 0;  // measured
  double start_kl = 0;
  size_t measured_count = 0;
};
// Measures `start` and up to `measure_count_max` further maps that differ from the best so far in
// one or two tensors and fit, the ones with the smallest estimated sums first; a map becomes the
// best when its measured divergence is at least 1 % smaller. A failing measurement ends it.
Result<KvMapRefinement> RefineKvMap(std::span<const KvChoices> tensors, const KvMap& start,
                                    size_t bytes_max, size_t measure_count_max,
                                    const std::function<Result<double>(const KvMap&)>& measure);

}  // namespace kvasir

#endif  // KVASIR_EVAL_KV_MAP_SEARCH_H_
