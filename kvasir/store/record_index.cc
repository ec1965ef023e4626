#include "kvasir/store/record_index.h"

#include <utility>

namespace kvasir {

const IndexedRecord* RecordIndex::Find(const Digest& key) const {
  const auto found = slots_.find(key);
  return found == slots_.end() ? nullptr : &records_[*found];
}

IndexedRecord* RecordIndex::Find(const Digest& key) {
  return const_cast<IndexedRecord*>(std::as_const(*this).Find(key));
}

uint32_t RecordIndex::TenantIndex(const Digest& tenant) {
  const auto [it, added] =
      tenant_indices_.try_emplace(tenant, static_cast<uint32_t>(tenants_.size()));
  if (added) tenants_.push_back(tenant);
  return it->second;
}

IndexedRecord& RecordIndex::Insert(const IndexEntry& entry) {
  Remove(entry.key);
  uint32_t slot = static_cast<uint32_t>(records_.size());
  if (free_slots_.empty()) {
    records_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  IndexedRecord& record = records_[slot];
  record = {.key = entry.key,
            .parent_head = entry.parent_head,
            .sequence = entry.sequence,
            .expires_unix_ms = entry.expires_unix_ms,
            .segment = entry.segment,
            .page = entry.page,
            .payload_bytes = entry.payload_bytes,
            .stored_bytes = entry.stored_bytes,
            .token_start = entry.token_start,
            .use_count = entry.use_count,
            .written_unix_s = entry.written_unix_s,
            .used_unix_s = entry.used_unix_s,
            .tenant_index = TenantIndex(entry.tenant),
            .token_count = entry.token_count,
            .pinned = entry.pinned,
            .read_failed = false};
  slots_.insert(slot);
  payload_bytes_ += record.payload_bytes;
  pinned_count_ += record.pinned ? 1 : 0;
  return record;
}

void RecordIndex::Remove(const Digest& key) {
  const auto found = slots_.find(key);
  if (found == slots_.end()) return;
  const uint32_t slot = *found;
  slots_.erase(found);
  payload_bytes_ -= records_[slot].payload_bytes;
  pinned_count_ -= records_[slot].pinned ? 1 : 0;
  records_[slot] = {};
  free_slots_.push_back(slot);
}

void RecordIndex::Clear() {
  slots_.clear();
  records_.clear();
  free_slots_.clear();
  payload_bytes_ = 0;
  pinned_count_ = 0;
}

IndexEntry RecordIndex::EntryOf(const IndexedRecord& record) const {
  return {.kind = IndexEntryKind::kRecord,
          .pinned = record.pinned,
          .token_count = record.token_count,
          .sequence = record.sequence,
          .key = record.key,
          .tenant = TenantOf(record),
          .parent_head = record.parent_head,
          .segment = record.segment,
          .page = record.page,
          .payload_bytes = record.payload_bytes,
          .stored_bytes = record.stored_bytes,
          .token_start = record.token_start,
          .use_count = record.use_count,
          .expires_unix_ms = record.expires_unix_ms,
          .written_unix_s = record.written_unix_s,
          .used_unix_s = record.used_unix_s};
}

void RecordIndex::SetPinned(IndexedRecord& record, bool pinned) {
  pinned_count_ += (pinned ? 1 : 0) - (record.pinned ? 1 : 0);
  record.pinned = pinned;
}

void RecordIndex::ForEach(const std::function<void(const IndexedRecord&)>& visit) const {
  for (const IndexedRecord& record : records_) {
    if (record.sequence != 0) visit(record);
  }
}

std::vector<IndexEntry> RecordIndex::EntriesIf(
    const std::function<bool(const IndexedRecord&)>& predicate) const {
  std::vector<IndexEntry> entries;
  ForEach([&](const IndexedRecord& record) {
    if (predicate(record)) entries.push_back(EntryOf(record));
  });
  return entries;
}

}  // namespace kvasir
