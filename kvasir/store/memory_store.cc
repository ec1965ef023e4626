#include "kvasir/store/memory_store.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvasir/store/record_reader.h"
#include "kvasir/store/record_writer.h"

namespace kvasir {

namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

Status Late() { return DeadlineExceeded("the deadline passed before the item began"); }

}  // namespace

MemoryStore::MemoryStore(uint64_t cap_bytes, UnixClock clock)
    : cap_bytes_(cap_bytes), clock_(std::move(clock)) {
  stats_.backend = "memory";
  stats_.cap_bytes = cap_bytes;
}

StoreOperation MemoryStore::Get(std::vector<GetItem> items, StoreDeadline deadline,
                                StoreDone done) {
  for (size_t i = 0; i < items.size(); ++i) {
    const Clock::time_point begin = Clock::now();
    Status status;
    {
      const std::lock_guard lock(mutex_);
      status = begin > deadline ? Late() : GetOne(items[i], clock_());
      if (status.ok()) {
        ++stats_.hit_count;
        stats_.get_seconds.Observe(SecondsSince(begin));
        stats_.get_bytes.Observe(static_cast<double>(items[i].payload.size()));
      } else if (status.code() == StatusCode::kDeadlineExceeded) {
        ++stats_.get_abandoned_count;
      }
    }
    done(i, status);
  }
  const std::lock_guard lock(mutex_);
  return ++operation_;
}

Status MemoryStore::GetOne(const GetItem& item, int64_t now_unix_ms) {
  const Nodes::iterator node = Find(item.identity.key, now_unix_ms);
  if (node == nodes_.end()) {
    ++stats_.miss_count;
    return NotFound("there is no such record");
  }
  std::span<const std::byte> stored;
  const Result<RecordHeader> header = ReadRecord(node->record, &stored);
  if (!header.ok()) {
    ++stats_.corrupt_count;
    Drop(node);
    return DataLoss(header.status().message());
  }
  const Status same = CompareRecordIdentity(*header, item.identity, item.payload.size());
  if (!same.ok()) {
    ++stats_.mismatch_count;
    return same;
  }
  std::copy(stored.begin(), stored.end(), item.payload.begin());
  stats_.read_bytes += node->record.size();
  Use(node, now_unix_ms);
  return OkStatus();
}

StoreOperation MemoryStore::Put(std::vector<PutItem> items, StoreDeadline deadline,
                                StoreDone done) {
  for (size_t i = 0; i < items.size(); ++i) {
    const Clock::time_point begin = Clock::now();
    Status status;
    {
      const std::lock_guard lock(mutex_);
      const uint64_t known_count = stats_.known_count;
      status = begin > deadline ? Late() : PutOne(items[i], clock_());
      if (status.ok() && stats_.known_count == known_count) {
        ++stats_.stored_count;
        stats_.put_seconds.Observe(SecondsSince(begin));
        stats_.put_bytes.Observe(static_cast<double>(items[i].payload.size()));
      } else if (status.code() == StatusCode::kDeadlineExceeded) {
        ++stats_.put_abandoned_count;
      } else if (!status.ok()) {
        ++stats_.put_failed_count;
      }
    }
    done(i, status);
  }
  const std::lock_guard lock(mutex_);
  return ++operation_;
}

Status MemoryStore::PutOne(const PutItem& item, int64_t now_unix_ms) {
  KVASIR_RETURN_IF_ERROR(CheckPutItem(item));
  if (Find(item.identity.key, now_unix_ms) != nodes_.end()) {
    ++stats_.known_count;
    return OkStatus();
  }
  const uint64_t record_bytes = RecordBytes(item.payload.size());
  if (!MakeRoom(record_bytes)) {
    return ResourceExhausted("a record of " + std::to_string(record_bytes) +
                             " bytes does not fit into " + std::to_string(cap_bytes_));
  }
  RecordHeader header = RawRecordHeader(item);
  header.sequence = ++sequence_;
  header.written_unix_ms = now_unix_ms;
  const RecordInfo info = {.key = item.identity.key,
                           .tenant = item.identity.tenant,
                           .token_start = item.identity.token_start,
                           .token_count = item.identity.tokens.size(),
                           .payload_bytes = item.payload.size(),
                           .record_bytes = record_bytes,
                           .written_unix_ms = now_unix_ms,
                           .used_unix_ms = now_unix_ms,
                           .expires_unix_ms = item.expires_unix_ms,
                           .use_count = 0,
                           .pinned = item.pinned};
  nodes_.push_back({info, WriteRecord(std::move(header), item.payload)});
  nodes_by_key_[info.key] = std::prev(nodes_.end());
  stats_.pinned_count += item.pinned ? 1 : 0;
  stats_.payload_bytes += info.payload_bytes;
  stats_.physical_bytes += record_bytes;
  stats_.written_bytes += record_bytes;
  return OkStatus();
}

bool MemoryStore::MakeRoom(uint64_t record_bytes) {
  if (cap_bytes_ == 0) return true;
  Nodes::iterator node = nodes_.begin();
  while (stats_.physical_bytes + record_bytes > cap_bytes_ && node != nodes_.end()) {
    const Nodes::iterator victim = node++;
    if (victim->info.pinned) continue;
    ++stats_.evicted_count;
    Drop(victim);
  }
  return stats_.physical_bytes + record_bytes <= cap_bytes_;
}

MemoryStore::Nodes::iterator MemoryStore::Find(const Digest& key, int64_t now_unix_ms) {
  const auto found = nodes_by_key_.find(key);
  if (found == nodes_by_key_.end()) return nodes_.end();
  const RecordInfo& info = found->second->info;
  if (info.expires_unix_ms == 0 || info.expires_unix_ms > now_unix_ms) return found->second;
  ++stats_.expired_count;
  Drop(found->second);
  return nodes_.end();
}

void MemoryStore::Use(Nodes::iterator node, int64_t now_unix_ms) {
  node->info.used_unix_ms = now_unix_ms;
  ++node->info.use_count;
  nodes_.splice(nodes_.end(), nodes_, node);
}

void MemoryStore::Drop(Nodes::iterator node) {
  stats_.pinned_count -= node->info.pinned ? 1 : 0;
  stats_.payload_bytes -= node->info.payload_bytes;
  stats_.physical_bytes -= node->record.size();
  nodes_by_key_.erase(node->info.key);
  nodes_.erase(node);
}

void MemoryStore::Lookup(std::vector<Digest> keys, StoreDeadline,
                         std::function<void(const Result<size_t>&)> done) {
  size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now_unix_ms = clock_();
    while (count < keys.size() && Find(keys[count], now_unix_ms) != nodes_.end()) ++count;
  }
  done(count);
}

void MemoryStore::Erase(std::vector<Digest> keys, EraseDone done) {
  size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const Digest& key : keys) {
      const auto found = nodes_by_key_.find(key);
      if (found == nodes_by_key_.end()) continue;
      Drop(found->second);
      ++count;
    }
    stats_.erased_count += count;
  }
  if (done) done(count);
}

void MemoryStore::EraseTenant(const Digest& tenant, EraseDone done) {
  size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    for (Nodes::iterator node = nodes_.begin(); node != nodes_.end();) {
      const Nodes::iterator victim = node++;
      if (victim->info.tenant != tenant) continue;
      std::fill(victim->record.begin(), victim->record.end(), std::byte{0});
      Drop(victim);
      ++count;
    }
    stats_.erased_count += count;
  }
  if (done) done(count);
}

bool MemoryStore::SetPinned(const Digest& key, bool pinned) {
  const std::lock_guard lock(mutex_);
  const Nodes::iterator node = Find(key, clock_());
  if (node == nodes_.end()) return false;
  stats_.pinned_count += (pinned ? 1 : 0) - (node->info.pinned ? 1 : 0);
  node->info.pinned = pinned;
  return true;
}

void MemoryStore::Touch(std::span<const Digest> keys) {
  const std::lock_guard lock(mutex_);
  const int64_t now_unix_ms = clock_();
  for (const Digest& key : keys) {
    const Nodes::iterator node = Find(key, now_unix_ms);
    if (node != nodes_.end()) Use(node, now_unix_ms);
  }
}

StoreStats MemoryStore::stats() const {
  const std::lock_guard lock(mutex_);
  StoreStats stats = stats_;
  stats.record_count = nodes_.size();
  return stats;
}

void MemoryStore::ForEach(const std::function<bool(const RecordInfo&)>& visit) const {
  std::vector<RecordInfo> infos;
  {
    const std::lock_guard lock(mutex_);
    for (const Node& node : nodes_) infos.push_back(node.info);
  }
  std::sort(infos.begin(), infos.end(), [](const RecordInfo& a, const RecordInfo& b) {
    return std::pair(a.written_unix_ms, a.key) < std::pair(b.written_unix_ms, b.key);
  });
  for (const RecordInfo& info : infos) {
    if (!visit(info)) return;
  }
}

bool MemoryStore::Corrupt(const Digest& key, size_t offset, std::byte mask) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_by_key_.find(key);
  if (found == nodes_by_key_.end() || offset >= found->second->record.size()) return false;
  found->second->record[offset] ^= mask;
  return true;
}

}  // namespace kvasir
