// BlockWriter: hands complete blocks to a store, in batches, straight from their slots in the pool.
// Blocks that are to be written wait in a line without being held: what is evicted meanwhile is
// lost to the store, never to a request. Those that the store reads are guarded, at most a window
// of them. Engine thread only.

#ifndef KVASIR_KV_BLOCK_WRITER_H_
#define KVASIR_KV_BLOCK_WRITER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kvasir/kv/block_key.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/circuit_breaker.h"
#include "kvasir/kv/prefix_cache.h"
#include "kvasir/kv/store_mailbox.h"
#include "kvasir/kv/tier_stats.h"
#include "kvasir/store/block_store.h"

namespace kvasir {

class BlockWriter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Whether a block that was just touched is worth a write, if the store does not have it yet.
  using Admission = std::function<bool(const PrefixIndex::Entry& entry, const BlockKey& parent)>;

  // All must outlive the writer.
  BlockWriter(PrefixCache& cache, std::shared_ptr<BlockPool> pool, BlockStore& store,
              std::shared_ptr<StoreMailbox> mailbox, size_t window_block_count,
              Admission admission);

  // A findable block was computed or found again: joins the line if it is admitted.
  void Touch(BlockId block);
  // The store has it: it came from there.
  void MarkStored(BlockId block);
  // Whether the store has had it, as far as is known.
  bool IsStored(BlockId block) const;
  // Nothing is known of what the store has: records were erased.
  void ForgetStored();

  // A reply of kind kStored.
  void Take(const StoreReply& reply);
  // Writes what waits, as far as window and breaker allow.
  void Advance(Time now);
  // When Advance has to be called though no reply comes: a breaker is open and blocks wait.
  std::optional<Time> NextTry(Time now) const;
  // What has not begun is not written.
  void CancelAll();

  bool busy() const { return !batches_.empty() || !line_.empty(); }
  bool suspended() const { return breaker_.open(); }
  bool writing() const { return !batches_.empty(); }
  void FillStats(TierStats* stats) const;

 private:
  enum class State : uint8_t { kNone, kWaiting, kWriting, kStored };
  struct Note {
    uint64_t allocation = 0;  // of the block, to which the state belongs
    State state = State::kNone;
  };
  struct Batch;

  State StateOf(BlockId block) const;
  void SetState(BlockId block, State state);
  // The next blocks of the line that are still there, at most `count`.
  std::vector<BlockId> NextBlocks(size_t count);
  void Write(const std::vector<BlockId>& blocks, bool tries, Time now);

  PrefixCache& cache_;
  const std::shared_ptr<BlockPool> pool_;
  BlockStore& store_;
  const std::shared_ptr<StoreMailbox> mailbox_;
  const size_t window_block_count_;
  const size_t block_bytes_;
  const Admission admission_;
  std::vector<uint64_t> section_bytes_;

  std::vector<Note> notes_;    // by block
  std::deque<BlockKey> line_;  // at most as many as the pool has blocks
  std::unordered_map<uint64_t, std::shared_ptr<Batch>> batches_;
  uint64_t next_ticket_ = 1;
  size_t guarded_count_ = 0;
  CircuitBreaker breaker_;
  TierStats counts_;
};

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_WRITER_H_
