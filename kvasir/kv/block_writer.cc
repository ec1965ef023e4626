#include "kvasir/kv/block_writer.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/kv/block_loader.h"
#include "kvasir/store/record_format.h"

namespace kvasir {
namespace {

// Blocks of one Put: a few MB, so that a device writes long runs and a failure costs little.
constexpr size_t kBatchBlockCount = 8;
// A batch that has not begun by then is given up: its blocks have waited long enough for others.
constexpr std::chrono::seconds kWritePatience{30};

bool IsFailureOfDevice(StatusCode code) {
  return code == StatusCode::kUnavailable || code == StatusCode::kIoError ||
         code == StatusCode::kDeadlineExceeded;
}

// A checksum for each layer, or for as many layers together as make few enough sections.
std::vector<uint64_t> SectionBytes(const KvBlockLayout& layout) {
  const size_t layers_each = (layout.layer_count + kRecordSectionsMax - 1) / kRecordSectionsMax;
  std::vector<uint64_t> sections;
  for (size_t layer = 0; layer < layout.layer_count; layer += layers_each) {
    const size_t end = std::min<size_t>(layer + layers_each, layout.layer_count);
    const size_t end_bytes =
        end == layout.layer_count ? layout.block_bytes() : layout.LayerOffset(uint32_t(end));
    sections.push_back(end_bytes - layout.LayerOffset(uint32_t(layer)));
  }
  return sections;
}

}  // namespace

// Kept alive by the callbacks that the store has, too: it reads the tokens.
struct BlockWriter::Batch {
  std::vector<BlockId> blocks;
  std::vector<TokenId> tokens;  // [blocks * kKvBlockTokens]
  size_t undone_count = 0;
  bool tries = false;   // let through by an open breaker
  bool failed = false;  // counted by the breaker
  Time start = {};
  StoreOperation operation = 0;
};

BlockWriter::BlockWriter(PrefixCache& cache, std::shared_ptr<BlockPool> pool, BlockStore& store,
                         std::shared_ptr<StoreMailbox> mailbox, size_t window_block_count,
                         Admission admission)
    : cache_(cache),
      pool_(std::move(pool)),
      store_(store),
      mailbox_(std::move(mailbox)),
      window_block_count_(window_block_count),
      block_bytes_(pool_->layout().block_bytes()),
      admission_(std::move(admission)),
      section_bytes_(SectionBytes(pool_->layout())),
      notes_(pool_->block_count()) {}

BlockWriter::State BlockWriter::StateOf(BlockId block) const {
  const Note& note = notes_[size_t(block)];
  return note.allocation == pool_->allocation_counts()[size_t(block)] ? note.state : State::kNone;
}

void BlockWriter::SetState(BlockId block, State state) {
  notes_[size_t(block)] = {pool_->allocation_counts()[size_t(block)], state};
}

void BlockWriter::MarkStored(BlockId block) { SetState(block, State::kStored); }

bool BlockWriter::IsStored(BlockId block) const { return StateOf(block) == State::kStored; }

void BlockWriter::ForgetStored() {
  for (Note& note : notes_) {
    if (note.state == State::kStored) note.state = State::kNone;
  }
}

void BlockWriter::Touch(BlockId block) {
  const PrefixIndex::Entry& entry = cache_.index().entry(block);
  const BlockKey parent = entry.parent == kNoBlock ? RootKey(cache_.fingerprint(), entry.salt)
                                                   : cache_.index().entry(entry.parent).key;
  const bool admitted = admission_(entry, parent);
  if (StateOf(block) != State::kNone) return;
  ++counts_.offered_block_count;
  if (!admitted) {
    ++counts_.unwanted_block_count;
    return;
  }
  if (line_.size() >= pool_->block_count()) {
    line_.pop_front();
    ++counts_.lost_block_count;
  }
  SetState(block, State::kWaiting);
  line_.push_back(entry.key);
}

std::vector<BlockId> BlockWriter::NextBlocks(size_t count) {
  std::vector<BlockId> blocks;
  while (blocks.size() < count && !line_.empty()) {
    const BlockId block = cache_.index().Find(line_.front());
    line_.pop_front();
    if (block == kNoBlock) {
      ++counts_.lost_block_count;
    } else if (StateOf(block) == State::kWaiting) {
      // A key stands in the line twice when its block was evicted and computed again.
      SetState(block, State::kWriting);
      blocks.push_back(block);
    }
  }
  return blocks;
}

void BlockWriter::Advance(Time now) {
  while (!line_.empty() && guarded_count_ < window_block_count_) {
    const CircuitBreaker::Answer passes = breaker_.Ask(now);
    if (passes == CircuitBreaker::Answer::kRefuse) return;
    const bool tries = passes == CircuitBreaker::Answer::kTry;
    const size_t room = window_block_count_ - guarded_count_;
    const auto blocks = NextBlocks(tries ? 1 : std::min(kBatchBlockCount, room));
    if (!blocks.empty()) {
      Write(blocks, tries, now);
    } else if (tries) {
      breaker_.Withdrawn();
    }
  }
}

void BlockWriter::Write(const std::vector<BlockId>& blocks, bool tries, Time now) {
  const PrefixIndex& index = cache_.index();
  auto batch = std::make_shared<Batch>();
  batch->blocks = blocks;
  batch->undone_count = blocks.size();
  batch->tries = tries;
  batch->start = now;
  batch->tokens.reserve(blocks.size() * kKvBlockTokens);  // spans of it are handed out below
  std::vector<PutItem> items;
  for (const BlockId block : blocks) {
    const PrefixIndex::Entry& entry = index.entry(block);
    batch->tokens.insert(batch->tokens.end(), entry.tokens.begin(), entry.tokens.end());
    items.push_back(
        {.identity = {.fingerprint = cache_.fingerprint(),
                      .key = entry.key,
                      .parent = entry.parent == kNoBlock ? RootKey(cache_.fingerprint(), entry.salt)
                                                         : index.entry(entry.parent).key,
                      .tenant = TenantTag(entry.salt),
                      .token_start = uint64_t{entry.depth} * kKvBlockTokens,
                      .tokens = std::span(batch->tokens).last(kKvBlockTokens)},
         .payload = {pool_->base() + size_t(block) * block_bytes_, block_bytes_},
         .section_bytes = section_bytes_,
         .pinned = index.IsPinned(block)});
    pool_->Guard(block);
  }
  guarded_count_ += blocks.size();
  const uint64_t ticket = next_ticket_++;
  batches_.emplace(ticket, batch);
  // The callback keeps what the store reads.
  const auto done = [mailbox = mailbox_, pool = pool_, batch, ticket](size_t i,
                                                                      const Status& status) {
    mailbox->Post(
        {.kind = StoreReply::Kind::kStored, .ticket = ticket, .number = i, .status = status});
  };
  batch->operation = store_.Put(std::move(items), now + kWritePatience, done);
}

void BlockWriter::Take(const StoreReply& reply) {
  const auto found = batches_.find(reply.ticket);
  KVASIR_CHECK(found != batches_.end());
  const std::shared_ptr<Batch> batch = found->second;
  const BlockId block = batch->blocks[reply.number];
  pool_->Unguard(block);
  --guarded_count_;
  SetState(block, reply.status.ok() ? State::kStored : State::kNone);
  if (reply.status.ok()) {
    ++counts_.stored_block_count;
    counts_.stored_bytes += block_bytes_;
    breaker_.Succeeded();
    batch->tries = false;
  } else {
    ++counts_.failed_store_count;
    if (IsFailureOfDevice(reply.status.code()) && !std::exchange(batch->failed, true)) {
      breaker_.Failed(reply.time);
      batch->tries = false;
    }
  }
  if (--batch->undone_count > 0) return;
  if (batch->tries) breaker_.Withdrawn();
  counts_.store_seconds.Observe(std::chrono::duration<double>(reply.time - batch->start).count());
  batches_.erase(found);
}

std::optional<BlockWriter::Time> BlockWriter::NextTry(Time now) const {
  if (!breaker_.open() || line_.empty()) return std::nullopt;
  return now + CircuitBreaker::kPauseMin;
}

void BlockWriter::CancelAll() {
  line_.clear();
  for (const auto& [ticket, batch] : batches_) store_.Cancel(batch->operation);
}

void BlockWriter::FillStats(TierStats* stats) const {
  stats->storing_block_count = guarded_count_;
  stats->backlog_block_count = line_.size();
  stats->storing_suspended = breaker_.open();
  stats->offered_block_count = counts_.offered_block_count;
  stats->stored_block_count = counts_.stored_block_count;
  stats->stored_bytes = counts_.stored_bytes;
  stats->unwanted_block_count = counts_.unwanted_block_count;
  stats->lost_block_count = counts_.lost_block_count;
  stats->failed_store_count = counts_.failed_store_count;
  stats->store_seconds = counts_.store_seconds;
}

}  // namespace kvasir
