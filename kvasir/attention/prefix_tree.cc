#include "kvasir/attention/prefix_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kvasir/attention/batch_attention.h"

namespace kvasir {

std::span<const int32_t> PrefixTree::SplitPages(int32_t sequence, int32_t split) const {
  const int64_t page_size = kv_->page_size;
  const int64_t begin = int64_t{split} * kKvSplitTokens / page_size;
  const int64_t end = ((int64_t{split} + 1) * kKvSplitTokens + page_size - 1) / page_size;
  return kv_->kv_indices.subspan(size_t(kv_->kv_indptr[size_t(sequence)] + begin),
                                 size_t(end - begin));
}

bool PrefixTree::SharesSplit(int32_t a, int32_t b, int32_t split) const {
  const std::span<const int32_t> x = SplitPages(a, split), y = SplitPages(b, split);
  return std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
}

int32_t PrefixTree::GroupByPage(const Branch& branch) {
  const std::span<int32_t> members =
      std::span(order_).subspan(size_t(branch.first), size_t(branch.count));
  const auto ends = std::partition(members.begin(), members.end(), [&](int32_t b) {
    return split_counts_[size_t(b)] > branch.split;
  });
  const size_t count = size_t(ends - members.begin());
  // Twice as many slots as members keep probes short.
  slots_.resize(std::max(slots_.size(), std::bit_ceil(2 * count + 1)));
  const size_t mask = slots_.size() - 1;
  ++epoch_;
  groups_.resize(count);
  group_begins_.assign(1, 0);
  for (size_t i = 0; i < count; ++i) {
    const int32_t page = SplitPages(members[i], branch.split)[0];
    size_t at = (uint32_t(page) * 0x9E3779B1u >> 7) & mask;
    while (slots_[at].epoch == epoch_ && slots_[at].page != page) at = (at + 1) & mask;
    if (slots_[at].epoch != epoch_) {
      slots_[at] = {.epoch = epoch_, .page = page, .group = int32_t(group_begins_.size()) - 1};
      group_begins_.push_back(0);
    }
    groups_[i] = slots_[at].group;
    ++group_begins_[size_t(groups_[i]) + 1];
  }
  for (size_t g = 1; g < group_begins_.size(); ++g) group_begins_[g] += group_begins_[g - 1];
  sorted_.resize(count);
  for (size_t i = count; i-- > 0;) {
    // From the back, filling each group from its end: members stay in order.
    const size_t group = size_t(groups_[i]);
    sorted_[size_t(--group_begins_[group + 1])] = members[i];
  }
  std::copy(sorted_.begin(), sorted_.end(), members.begin());
  return int32_t(count);
}

void PrefixTree::AddRuns(int32_t split, int32_t first, int32_t count) {
  while (count >= 2) {
    const auto begin = order_.begin() + first;
    const int32_t leader = *begin;
    // Nearly always all of them: different second pages behind the same first one are an accident.
    const auto others = std::stable_partition(begin, begin + count, [&](int32_t b) {
      return b == leader || SharesSplit(leader, b, split);
    });
    const int32_t shared = int32_t(others - begin);
    if (shared >= 2) {
      int32_t end = split + 1;
      const auto shares_next = [&](int32_t b) {
        return split_counts_[size_t(b)] > end && (b == leader || SharesSplit(leader, b, end));
      };
      while (std::all_of(begin, others, shares_next)) ++end;
      runs_.push_back({.split_begin = split, .split_end = end, .first = first, .count = shared});
      branches_.push_back({.split = end, .first = first, .count = shared});
    }
    first += shared;
    count -= shared;
  }
}

void PrefixTree::Build(const PagedKv& kv, std::span<const int32_t> split_counts) {
  kv_ = &kv;
  split_counts_ = split_counts;
  runs_.clear();
  branches_.clear();
  order_.clear();
  for (size_t b = 0; b < split_counts.size(); ++b) {
    if (split_counts[b] > 0) order_.push_back(int32_t(b));
  }
  if (order_.size() < 2) return;
  branches_.push_back({.split = 0, .first = 0, .count = int32_t(order_.size())});
  while (!branches_.empty()) {
    const Branch branch = branches_.back();
    branches_.pop_back();
    const int32_t count = GroupByPage(branch);
    const std::vector<int32_t>& begins = group_begins_;
    const size_t group_count = begins.size() - 1;
    if (int32_t(group_count) == count) continue;  // everyone alone
    // GroupByPage left group g's first index in begins[g + 1].
    for (size_t g = 0; g < group_count; ++g) {
      const int32_t begin = begins[g + 1];
      const int32_t end = g + 1 < group_count ? begins[g + 2] : count;
      AddRuns(branch.split, branch.first + begin, end - begin);
    }
  }
}

}  // namespace kvasir
