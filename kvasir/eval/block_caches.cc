#include "kvasir/eval/block_caches.h"

#include <algorithm>
#include <array>
#include <list>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/eval/adaptive_cache.h"

namespace kvasir {

namespace {

// Lists of blocks, each block in one of them at most: the front is the newest.
template <size_t kCount>
class BlockLists {
 public:
  explicit BlockLists(uint32_t block_count) : place_(block_count), list_(block_count, kCount) {}

  // kCount when the block is in none.
  size_t ListOf(uint32_t block) const { return list_[block]; }
  size_t size(size_t list) const { return lists_[list].size(); }
  void Push(size_t list, uint32_t block) {
    Erase(block);
    lists_[list].push_front(block);
    place_[block] = lists_[list].begin();
    list_[block] = uint8_t(list);
  }
  void Erase(uint32_t block) {
    if (list_[block] != kCount) lists_[list_[block]].erase(place_[block]);
    list_[block] = kCount;
  }
  uint32_t Oldest(size_t list) const { return lists_[list].back(); }
  void Move(size_t from, size_t to) { Push(to, Oldest(from)); }
  void Drop(size_t list) { Erase(Oldest(list)); }

 private:
  std::array<std::list<uint32_t>, kCount> lists_;
  std::vector<std::list<uint32_t>::iterator> place_;
  std::vector<uint8_t> list_;
};

// A policy that sees one block at a time and knows nothing of chains, as in the books.
class BlockwiseCache : public BlockCache {
 public:
  void Use(std::span<const uint32_t> request) final {
    for (const uint32_t block : request) UseOne(block);
  }

 protected:
  virtual void UseOne(uint32_t block) = 0;
};

class RecencyCache final : public BlockwiseCache {
 public:
  RecencyCache(size_t capacity, uint32_t block_count, bool moves_used)
      : capacity_(capacity), moves_used_(moves_used), lists_(block_count) {}
  bool Contains(uint32_t block) const override { return lists_.ListOf(block) == 0; }

 protected:
  void UseOne(uint32_t block) override {
    if (Contains(block) && !moves_used_) return;
    if (!Contains(block) && lists_.size(0) == capacity_) lists_.Drop(0);
    lists_.Push(0, block);
  }

 private:
  const size_t capacity_;
  const bool moves_used_;
  BlockLists<1> lists_;
};

// The fewest uses since it came go first, of those the one used longest ago.
class LfuCache final : public BlockwiseCache {
 public:
  LfuCache(size_t capacity, uint32_t block_count) : capacity_(capacity), uses_(block_count) {}
  bool Contains(uint32_t block) const override { return uses_[block].first > 0; }

 protected:
  void UseOne(uint32_t block) override {
    auto& [count, time] = uses_[block];
    if (count > 0) {
      order_.erase({count, time, block});
    } else if (order_.size() == capacity_) {
      uses_[std::get<2>(*order_.begin())] = {0, 0};
      order_.erase(order_.begin());
    }
    ++count;
    time = ++now_;
    order_.insert({count, time, block});
  }

 private:
  const size_t capacity_;
  uint64_t now_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> uses_;  // by block: how many, when last
  std::set<std::tuple<uint64_t, uint64_t, uint32_t>> order_;
};

// 2Q in full (Johnson and Shasha 1994), with their settings: a FIFO of a quarter of the room for
// what is new, and the keys of half as many blocks as there is room for.
class TwoQueueCache final : public BlockwiseCache {
 public:
  TwoQueueCache(size_t capacity, uint32_t block_count) : capacity_(capacity), lists_(block_count) {}
  bool Contains(uint32_t block) const override { return lists_.ListOf(block) < kGone; }

 protected:
  void UseOne(uint32_t block) override {
    const size_t list = lists_.ListOf(block);
    if (list == kNew) return;
    if (list >= kGone) {
      if (list == kGone) lists_.Erase(block);
      MakeRoom();
    }
    lists_.Push(list <= kGone ? kMain : kNew, block);
  }

 private:
  enum : size_t { kMain, kNew, kGone };
  void MakeRoom() {
    if (lists_.size(kMain) + lists_.size(kNew) < capacity_) return;
    if (lists_.size(kNew) > capacity_ / 4 || lists_.size(kMain) == 0) {
      lists_.Move(kNew, kGone);
      if (lists_.size(kGone) > capacity_ / 2) lists_.Drop(kGone);
    } else {
      lists_.Drop(kMain);
    }
  }

  const size_t capacity_;
  BlockLists<3> lists_;
};

// ARC (Megiddo and Modha 2003): recent and frequent blocks, the keys of as many more, and a border
// between the two that moves to where keys come back.
class ArcCache final : public BlockwiseCache {
 public:
  ArcCache(size_t capacity, uint32_t block_count) : capacity_(capacity), lists_(block_count) {}
  bool Contains(uint32_t block) const override { return lists_.ListOf(block) < kRecentGone; }

 protected:
  void UseOne(uint32_t block) override {
    const size_t list = lists_.ListOf(block);
    const double recent_gone = double(lists_.size(kRecentGone));
    const double frequent_gone = double(lists_.size(kFrequentGone));
    if (list == kRecentGone) {
      recent_target_ =
          std::min(double(capacity_), recent_target_ + std::max(1.0, frequent_gone / recent_gone));
      Replace(false);
    } else if (list == kFrequentGone) {
      recent_target_ = std::max(0.0, recent_target_ - std::max(1.0, recent_gone / frequent_gone));
      Replace(true);
    } else if (list == kNowhere) {
      MakeRoomForNew();
    }
    lists_.Push(list == kNowhere ? kRecent : kFrequent, block);
  }

 private:
  enum : size_t { kRecent, kFrequent, kRecentGone, kFrequentGone, kNowhere };
  void Replace(bool favours_frequent) {
    const double recent = double(lists_.size(kRecent));
    const bool from_recent =
        recent > 0 && (recent > recent_target_ || (favours_frequent && recent == recent_target_));
    if (from_recent || lists_.size(kFrequent) == 0) {
      lists_.Move(kRecent, kRecentGone);
    } else {
      lists_.Move(kFrequent, kFrequentGone);
    }
  }
  void MakeRoomForNew() {
    const size_t recent_known = lists_.size(kRecent) + lists_.size(kRecentGone);
    const size_t known = recent_known + lists_.size(kFrequent) + lists_.size(kFrequentGone);
    if (recent_known == capacity_) {
      if (lists_.size(kRecent) == capacity_) return lists_.Drop(kRecent);
      lists_.Drop(kRecentGone);
      Replace(false);
    } else if (known >= capacity_) {
      if (known == 2 * capacity_) lists_.Drop(kFrequentGone);
      Replace(false);
    }
  }

  const size_t capacity_;
  double recent_target_ = 0;  // blocks
  BlockLists<4> lists_;
};

// S3-FIFO (Yang et al. 2023): a small FIFO of a tenth, a main FIFO in which used blocks go round
// again, and the keys of as many blocks as the main one holds.
class S3FifoCache final : public BlockwiseCache {
 public:
  S3FifoCache(size_t capacity, uint32_t block_count)
      : capacity_(capacity), uses_(block_count), lists_(block_count) {}
  bool Contains(uint32_t block) const override { return lists_.ListOf(block) < kGone; }

 protected:
  void UseOne(uint32_t block) override {
    if (Contains(block)) {
      uses_[block] = std::min(uses_[block] + 1, 3);
      return;
    }
    const bool was_here = lists_.ListOf(block) == kGone;
    lists_.Erase(block);
    while (lists_.size(kSmall) + lists_.size(kMain) >= capacity_) Evict();
    uses_[block] = 0;
    lists_.Push(was_here ? kMain : kSmall, block);
  }

 private:
  enum : size_t { kSmall, kMain, kGone };
  // One step: a block goes, or goes round.
  void Evict() {
    const size_t small_max = std::max<size_t>(1, capacity_ / 10);
    if (lists_.size(kSmall) >= small_max || lists_.size(kMain) == 0) {
      const uint32_t block = lists_.Oldest(kSmall);
      const bool used = uses_[block] > 1;
      uses_[block] = 0;
      lists_.Move(kSmall, used ? kMain : kGone);
      if (lists_.size(kGone) > capacity_ - small_max) lists_.Drop(kGone);
      return;
    }
    const uint32_t block = lists_.Oldest(kMain);
    if (uses_[block] == 0) return lists_.Drop(kMain);
    --uses_[block];
    lists_.Push(kMain, block);
  }

  const size_t capacity_;
  std::vector<int> uses_;  // by block
  BlockLists<3> lists_;
};

// Belady's: what is used again last goes first, or does not come at all.
class BeladyCache final : public BlockwiseCache {
 public:
  BeladyCache(size_t capacity, const ReplayTrace& trace)
      : capacity_(capacity), next_use_(trace.blocks.size()), key_(trace.block_count) {
    std::vector<size_t> later(trace.block_count, SIZE_MAX);
    for (size_t i = trace.blocks.size(); i-- > 0;) {
      next_use_[i] = std::exchange(later[trace.blocks[i]], i);
    }
  }
  bool Contains(uint32_t block) const override { return order_.contains({key_[block], block}); }

 protected:
  void UseOne(uint32_t block) override {
    order_.erase({key_[block], block});
    key_[block] = next_use_[time_++];
    order_.insert({key_[block], block});
    if (order_.size() > capacity_) order_.erase(std::prev(order_.end()));
  }

 private:
  const size_t capacity_;
  size_t time_ = 0;
  std::vector<size_t> next_use_;  // by place in the trace: the next place with the same block
  std::vector<size_t> key_;       // by block: its next use
  std::set<std::pair<size_t, uint32_t>> order_;
};

// Ours, one tier of it, alone.
class AdaptiveBlockCache final : public BlockCache {
 public:
  explicit AdaptiveBlockCache(size_t capacity) : cache_(capacity) {}
  bool Contains(uint32_t block) const override { return cache_.Contains(block); }
  void Use(std::span<const uint32_t> request) override {
    for (size_t i = 0; i < request.size(); ++i) cache_.Use(request, i, true);
    cache_.EndRequest();
  }

 private:
  AdaptiveCache cache_;
};

constexpr CachePolicyName kNames[] = {
    {CachePolicy::kFifo, "fifo"},     {CachePolicy::kLru, "lru"},
    {CachePolicy::kLfu, "lfu"},       {CachePolicy::k2Q, "2q"},
    {CachePolicy::kArc, "arc"},       {CachePolicy::kS3Fifo, "s3-fifo"},
    {CachePolicy::kAdaptive, "ours"}, {CachePolicy::kBelady, "belady"},
};

}  // namespace

ReplayTrace MakeReplayTrace(std::span<const std::vector<uint64_t>> requests) {
  ReplayTrace trace;
  std::unordered_map<uint64_t, uint32_t> numbers;
  for (const std::vector<uint64_t>& request : requests) {
    for (const uint64_t id : request) {
      trace.blocks.push_back(numbers.try_emplace(id, uint32_t(numbers.size())).first->second);
    }
    trace.request_sizes.push_back(request.size());
  }
  trace.block_count = uint32_t(numbers.size());
  return trace;
}

uint64_t ReplayKey(uint32_t block) {
  // SplitMix64's mixing of its counter: as good as a hash here, and the same everywhere.
  uint64_t key = (uint64_t{block} + 1) * 0x9e3779b97f4a7c15;
  key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9;
  key = (key ^ key >> 27) * 0x94d049bb133111eb;
  return std::max<uint64_t>(1, key ^ key >> 31);
}

std::span<const CachePolicyName> CachePolicyNames() { return kNames; }

std::unique_ptr<BlockCache> MakeBlockCache(CachePolicy policy, size_t capacity_blocks,
                                           const ReplayTrace& trace) {
  KVASIR_CHECK(capacity_blocks >= 1);
  const uint32_t count = trace.block_count;
  switch (policy) {
    case CachePolicy::kFifo:
      return std::make_unique<RecencyCache>(capacity_blocks, count, false);
    case CachePolicy::kLru:
      return std::make_unique<RecencyCache>(capacity_blocks, count, true);
    case CachePolicy::kLfu:
      return std::make_unique<LfuCache>(capacity_blocks, count);
    case CachePolicy::k2Q:
      return std::make_unique<TwoQueueCache>(capacity_blocks, count);
    case CachePolicy::kArc:
      return std::make_unique<ArcCache>(capacity_blocks, count);
    case CachePolicy::kS3Fifo:
      return std::make_unique<S3FifoCache>(capacity_blocks, count);
    case CachePolicy::kAdaptive:
      return std::make_unique<AdaptiveBlockCache>(capacity_blocks);
    case CachePolicy::kBelady:
      break;
  }
  return std::make_unique<BeladyCache>(capacity_blocks, trace);
}

}  // namespace kvasir
