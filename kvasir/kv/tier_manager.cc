#include "kvasir/kv/tier_manager.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace kvasir {
namespace {

// For the end of what had begun. A device that takes longer hangs: its callbacks keep the memory.
constexpr std::chrono::seconds kEndPatience{2};

uint64_t KeyNumber(const BlockKey& key) {
  uint64_t number;
  std::memcpy(&number, key.bytes.data(), sizeof(number));
  return number;
}

}  // namespace

TierManager::TierManager(PrefixCache& cache, std::shared_ptr<BlockPool> pool,
                         std::shared_ptr<BlockStore> store, const TierWindows& windows)
    : cache_(cache),
      pool_(std::move(pool)),
      store_(std::move(store)),
      mailbox_(std::make_shared<StoreMailbox>()),
      record_bytes_(pool_->layout().block_bytes()),
      loader_(cache, pool_, *store_, mailbox_, windows.load_block_count),
      writer_(cache, pool_, *store_, mailbox_, windows.store_block_count,
              [this](const PrefixIndex::Entry& entry, const BlockKey& parent) {
                const uint64_t parent_key = entry.parent == kNoBlock ? 0 : KeyNumber(parent);
                return !admission_ ||
                       admission_->ShouldWrite(KeyNumber(entry.key), parent_key, record_bytes_);
              }) {
  const uint64_t cap_bytes = store_->stats().cap_bytes;
  if (cap_bytes > 0) admission_.emplace(cap_bytes, size_t(cap_bytes / record_bytes_));
  RestoreAdmission();
}

void TierManager::RestoreAdmission() {
  if (!admission_) return;
  // A record does not say what it follows; that matters alone for what gives way first, and blocks
  // that are used show it.
  std::vector<RecordInfo> records;
  store_->ForEach([&](const RecordInfo& record) {
    records.push_back(record);
    return true;
  });
  std::sort(records.begin(), records.end(), [](const RecordInfo& a, const RecordInfo& b) {
    return a.used_unix_ms < b.used_unix_ms;
  });
  for (const RecordInfo& record : records) {
    admission_->Restore(KeyNumber(record.key), 0, std::max<uint64_t>(record.record_bytes, 1));
  }
}

TierManager::~TierManager() {
  const Time now = Time::clock::now();
  const Time deadline = now + kEndPatience;
  loader_.CancelAll(now);
  writer_.CancelAll();
  TakeReplies();
  while ((!loader_.idle() || writer_.writing()) && Time::clock::now() < deadline) {
    mailbox_->WaitUntil(deadline);
    TakeReplies();
    loader_.CancelAll(now);
  }
}

size_t TierManager::Adopted(std::span<const BlockId> blocks) {
  size_t fresh_count = 0;
  std::vector<BlockKey> stored;
  for (const BlockId block : blocks) {
    if (loader_.TakeFresh(block)) {
      writer_.MarkStored(block);
      ++fresh_count;
    } else if (writer_.IsStored(block)) {
      stored.push_back(cache_.index().entry(block).key);
    }
    writer_.Touch(block);
  }
  if (!stored.empty()) store_->Touch(stored);
  return fresh_count;
}

void TierManager::TakeReplies() {
  for (const StoreReply& reply : mailbox_->Take()) {
    if (reply.kind == StoreReply::Kind::kStored) {
      writer_.Take(reply);
    } else {
      loader_.Take(reply);
    }
  }
}

void TierManager::Collect(Time now) {
  TakeReplies();
  loader_.Collect(now);
}

std::optional<TierManager::Time> TierManager::NextAdvance(Time now) const {
  const auto load = loader_.NextJudgement();
  const auto write = writer_.NextTry(now);
  if (!load || !write) return load ? load : write;
  return std::min(*load, *write);
}

void TierManager::Flush(Time deadline) {
  for (Time now = Time::clock::now(); now < deadline; now = Time::clock::now()) {
    Collect(now);
    writer_.Advance(now);
    if (!writer_.busy() || writer_.suspended()) break;
    mailbox_->WaitUntil(std::min(deadline, NextAdvance(now).value_or(deadline)));
  }
  // A failure is the store's to count.
  (void)store_->Flush(deadline);
}

TierStats TierManager::stats() const {
  TierStats stats;
  loader_.FillStats(&stats);
  writer_.FillStats(&stats);
  stats.enabled = true;
  return stats;
}

}  // namespace kvasir
