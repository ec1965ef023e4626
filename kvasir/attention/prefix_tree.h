// PrefixTree: which sequences of a batch hold the same leading pages, as a trie over page ids in
// steps of one split (kKvSplitTokens). The composable formats of FlashInfer (Ye et al. 2025, arXiv
// 2501.01005, section 3.1.2), found from the page table instead of being told. Keeps its memory
// between batches; one thread at a time.

#ifndef KVASIR_ATTENTION_PREFIX_TREE_H_
#define KVASIR_ATTENTION_PREFIX_TREE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/paged_kv.h"

namespace kvasir {

class PrefixTree {
 public:
  // Sequences that hold the same pages for the splits [split_begin, split_end), and all before.
  struct Run {
    int32_t split_begin = 0;
    int32_t split_end = 0;
    int32_t first = 0;  // of its members
    int32_t count = 0;  // at least 2
  };

  // `split_counts` [batch]: the leading whole splits of each sequence that may be shared. REQUIRES
  // a checked page table with one list of pages for all heads.
  void Build(const PagedKv& kv, std::span<const int32_t> split_counts);

  // Runs of the last Build, parents before their children.
  std::span<const Run> runs() const { return runs_; }
  std::span<const int32_t> members(const Run& run) const {
    return std::span(order_).subspan(size_t(run.first), size_t(run.count));
  }

 private:
  struct Branch {  // members that agree on all splits before `split`
    int32_t split;
    int32_t first;
    int32_t count;
  };

  std::span<const int32_t> SplitPages(int32_t sequence, int32_t split) const;
  bool SharesSplit(int32_t a, int32_t b, int32_t split) const;
  // Orders the members of a branch by the page that opens its split; those that have no such split
  // come last and are not counted. Returns how many have it.
  int32_t GroupByPage(const Branch& branch);
  // Emits the runs of the `count` members from `first` on, whose split opens with the same page.
  void AddRuns(int32_t split, int32_t first, int32_t count);

  const PagedKv* kv_ = nullptr;
  std::span<const int32_t> split_counts_;
  std::vector<Run> runs_;
  std::vector<int32_t> order_;  // sequences
  std::vector<Branch> branches_;
  // Of GroupByPage: an open-addressing table page -> group, and a counting sort.
  struct Slot {
    uint64_t epoch = 0;
    int32_t page = 0;
    int32_t group = 0;
  };
  std::vector<Slot> slots_;
  uint64_t epoch_ = 0;
  std::vector<int32_t> groups_;        // of each member
  std::vector<int32_t> group_begins_;  // by group
  std::vector<int32_t> sorted_;
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_PREFIX_TREE_H_
