#include "kvasir/eval/replay.h"

#include <memory>

#include "kvasir/base/write_admission.h"
#include "kvasir/eval/adaptive_cache.h"

namespace kvasir {

namespace {

// Calls visit(request) for each request of the trace.
template <typename Visit>
void ForEachRequest(const ReplayTrace& trace, Visit visit) {
  std::span<const uint32_t> rest = trace.blocks;
  for (const size_t size : trace.request_sizes) {
    if (size > 0) visit(rest.first(size));
    rest = rest.subspan(size);
  }
}

// How many blocks from the start of a request are there.
template <typename Contains>
size_t LeadingHits(std::span<const uint32_t> request, Contains contains) {
  size_t hits = 0;
  while (hits < request.size() && contains(request[hits])) ++hits;
  return hits;
}

// Counts one request: its hits, and how many blocks were written for it.
class TierCounter {
 public:
  TierCounter(const ReplayTrace& trace, TierReplayResult* result)
      : first_late_(trace.request_sizes.size() / 2), result_(*result) {}

  void Count(size_t blocks, size_t hits, size_t written) {
    result_.hit_blocks += hits;
    result_.written_blocks += written;
    if (request_++ < first_late_) return;
    result_.late_block_count += blocks;
    result_.late_hit_blocks += hits;
    result_.late_written_blocks += written;
  }

 private:
  const size_t first_late_;
  size_t request_ = 0;
  TierReplayResult& result_;
};

}  // namespace

ReplayResult ReplayCache(const ReplayTrace& trace, CachePolicy policy, size_t capacity_blocks) {
  ReplayResult result = {policy, capacity_blocks, 0};
  const std::unique_ptr<BlockCache> cache = MakeBlockCache(policy, capacity_blocks, trace);
  ForEachRequest(trace, [&](std::span<const uint32_t> request) {
    result.hit_blocks +=
        LeadingHits(request, [&](uint32_t block) { return cache->Contains(block); });
    cache->Use(request);
  });
  return result;
}

TierReplayResult ReplayTiers(const ReplayTrace& trace, size_t ram_blocks, size_t disk_blocks,
                             WriteRule rule) {
  TierReplayResult result = {.ram_blocks = ram_blocks, .disk_blocks = disk_blocks, .rule = rule};
  AdaptiveCache ram(ram_blocks), disk(disk_blocks);
  WriteAdmission admission(disk_blocks, disk_blocks);
  std::vector<bool> seen(trace.block_count);
  TierCounter counter(trace, &result);
  ForEachRequest(trace, [&](std::span<const uint32_t> request) {
    size_t written = 0;
    const size_t hits = LeadingHits(
        request, [&](uint32_t block) { return ram.Contains(block) || disk.Contains(block); });
    for (size_t i = 0; i < request.size(); ++i) {
      const uint32_t block = request[i];
      bool writes = true;
      if (rule == WriteRule::kSecondTouch) writes = seen[block];
      if (rule == WriteRule::kAdmission) {
        const uint64_t parent = i == 0 ? 0 : ReplayKey(request[i - 1]);
        writes = admission.ShouldWrite(ReplayKey(block), parent, 1);
      }
      seen[block] = true;
      written += disk.Use(request, i, writes);
      ram.Use(request, i, true);
    }
    disk.EndRequest();
    ram.EndRequest();
    counter.Count(request.size(), hits, written);
  });
  return result;
}

TierReplayResult ReplayLruTiers(const ReplayTrace& trace, size_t ram_blocks, size_t disk_blocks) {
  TierReplayResult result = {.ram_blocks = ram_blocks, .disk_blocks = disk_blocks};
  const auto ram = MakeBlockCache(CachePolicy::kLru, ram_blocks, trace);
  const auto disk = MakeBlockCache(CachePolicy::kLru, disk_blocks, trace);
  TierCounter counter(trace, &result);
  ForEachRequest(trace, [&](std::span<const uint32_t> request) {
    size_t written = 0;
    const size_t hits = LeadingHits(
        request, [&](uint32_t block) { return ram->Contains(block) || disk->Contains(block); });
    for (const uint32_t& block : request) {
      written += !disk->Contains(block);
      disk->Use({&block, 1});
      ram->Use({&block, 1});
    }
    counter.Count(request.size(), hits, written);
  });
  return result;
}

size_t UnboundedHitBlocks(const ReplayTrace& trace) {
  size_t hits = 0;
  std::vector<bool> seen(trace.block_count);
  ForEachRequest(trace, [&](std::span<const uint32_t> request) {
    hits += LeadingHits(request, [&](uint32_t block) { return bool(seen[block]); });
    for (const uint32_t block : request) seen[block] = true;
  });
  return hits;
}

}  // namespace kvasir
