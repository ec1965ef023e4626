#include "kvasir/cli/bench_encode.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include "kvasir/attention/seal.h"
#include "kvasir/engine/open_kv.h"
#include "kvasir/formats/float16.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"

namespace kvasir {

namespace {

// A round of the default model takes about a millisecond: enough of them for a median that a busy
// machine does not disturb.
constexpr size_t kRounds = 31;

void FillOpenTiles(const OpenKv& open, std::mt19937& random) {
  std::normal_distribution<float> normal;
  for (const int32_t slot : open.own_slots) {
    // A staging slot has one layer, whichever is named.
    const uint32_t layers = slot < 0 ? 1 : open.layout.layer_count;
    for (uint32_t layer = 0; layer < layers; ++layer) {
      auto* numbers = reinterpret_cast<uint16_t*>(open.Tiles(slot, layer));
      for (size_t i = 0; i < open.LayerBytes() / sizeof(uint16_t); ++i) {
        numbers[i] = BF16FromF32(normal(random));
      }
    }
  }
}

// Seconds of encoding, in all layers, what a batch completes that appends `new_tokens` and ends
// with a block.
Result<double> MeasureBatch(const KvBlockLayout& layout, size_t new_tokens, ThreadPool& pool) {
  const size_t tokens = (new_tokens + kKvBlockTokens - 1) / kKvBlockTokens * kKvBlockTokens;
  const OpenBlockCounts counts = OpenBlockCounts::For(layout, tokens, 1);
  KVASIR_ASSIGN_OR_RETURN(const auto blocks,
                          BlockPool::Create(layout, tokens / kKvBlockTokens, counts));
  BlockTable table(*blocks);
  KVASIR_RETURN_IF_ERROR(table.Extend(tokens));
  OwnBlocks own;
  own.Add(table, new_tokens);
  const std::vector<int32_t> ids(table.blocks().begin(), table.blocks().end());
  const int32_t kv_indptr[2] = {0, static_cast<int32_t>(ids.size())};
  const int32_t qo_indptr[2] = {0, static_cast<int32_t>(new_tokens)};
  const int32_t last_page_len = kKvBlockTokens;
  const PagedKv kv{.layout = layout,
                   .base = blocks->base(),
                   .page_count = blocks->block_count(),
                   .kv_indptr = kv_indptr,
                   .kv_indices = ids,
                   .kv_last_page_len = {&last_page_len, 1},
                   .open = OpenKvOf(*blocks, own)};
  std::mt19937 random(1);
  FillOpenTiles(*kv.open, random);
  std::vector<double> seconds;
  for (size_t round = 0; round <= kRounds; ++round) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
      SealPagedKv(kv, layer, qo_indptr, pool);
    }
    // The first one touches the memory.
    if (round > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRounds / 2, seconds.end());
  return seconds[kRounds / 2];
}

}  // namespace

Result<KvEncodeSeconds> MeasureKvEncoding(const KvBlockLayout& layout, size_t chunk_tokens,
                                          ThreadPool& pool) {
  KvEncodeSeconds measured;
  if (!layout.quantized()) return measured;
  const size_t chunk = std::max<size_t>(chunk_tokens / kKvBlockTokens, 1) * kKvBlockTokens;
  KVASIR_ASSIGN_OR_RETURN(const double prompt, MeasureBatch(layout, chunk, pool));
  KVASIR_ASSIGN_OR_RETURN(const double decode, MeasureBatch(layout, 1, pool));
  measured.prompt_token = prompt / double(chunk);
  measured.decode_token = decode / kKvBlockTokens;
  return measured;
}

}  // namespace kvasir
