#include "kvasir/base/write_admission.h"

#include "kvasir/base/check.h"

namespace kvasir {

WriteAdmission::WriteAdmission(uint64_t capacity_bytes, size_t record_count_expected)
    : capacity_bytes_(capacity_bytes), policy_(record_count_expected) {}

bool WriteAdmission::ShouldWrite(uint64_t key, uint64_t parent, uint64_t bytes) {
  KVASIR_CHECK(bytes >= 1);
  if (const auto known = items_.find(key); known != items_.end()) {
    policy_.Use(known->second);
    return true;
  }
  Item parent_item = EvictionPolicy::kNone;
  bool worth = bytes <= capacity_bytes_;
  if (parent != 0) {
    const auto found = items_.find(parent);
    if (found == items_.end()) {
      worth = false;
    } else {
      parent_item = found->second;
    }
  }
  if (worth && used_bytes_ + bytes > capacity_bytes_) {
    worth = IsWorthAWrite(key, bytes) && MakeRoom(bytes, parent_item);
  }
  if (!worth) {
    policy_.NoteAbsent(key);
    return false;
  }
  Add(key, parent_item, bytes);
  return true;
}

void WriteAdmission::Restore(uint64_t key, uint64_t parent, uint64_t bytes) {
  if (items_.contains(key) || used_bytes_ + bytes > capacity_bytes_) return;
  const auto found = items_.find(parent);
  if (parent != 0 && found == items_.end()) return;
  Add(key, parent == 0 ? EvictionPolicy::kNone : found->second, bytes);
}

void WriteAdmission::Forget(uint64_t key) {
  // What follows the record stays in the directory until it gives way: without children alone may
  // one be removed.
  const auto found = items_.find(key);
  if (found != items_.end() && policy_.CanRemove(found->second)) Remove(found->second, false);
}

bool WriteAdmission::IsWorthAWrite(uint64_t key, uint64_t bytes) const {
  const Item victim = policy_.Victim();
  if (victim == EvictionPolicy::kNone) return false;
  const double price = policy_.Value(victim);
  if (policy_.Remembers(key)) return policy_.GainOf(key, bytes, price) >= kUsesPerWriteMin;
  return policy_.GainOf(key, bytes, kFirstPriceFactor * price) >= kFirstUsesPerWriteMin;
}

bool WriteAdmission::MakeRoom(uint64_t bytes, Item parent) {
  // The record that the new one follows must not give way for it.
  if (parent != EvictionPolicy::kNone) policy_.Hold(parent);
  while (used_bytes_ + bytes > capacity_bytes_) {
    const Item victim = policy_.Victim();
    if (victim == EvictionPolicy::kNone) break;
    Remove(victim, true);
  }
  if (parent != EvictionPolicy::kNone) policy_.Release(parent);
  return used_bytes_ + bytes <= capacity_bytes_;
}

void WriteAdmission::Add(uint64_t key, Item parent, uint64_t bytes) {
  Item item;
  if (free_.empty()) {
    item = Item(records_.size());
    records_.emplace_back();
  } else {
    item = free_.back();
    free_.pop_back();
  }
  records_[item] = {key, bytes};
  items_.emplace(key, item);
  used_bytes_ += bytes;
  policy_.Insert(item, key, parent, bytes);
}

void WriteAdmission::Remove(Item item, bool remember) {
  used_bytes_ -= records_[item].bytes;
  items_.erase(records_[item].key);
  policy_.Remove(item, remember);
  free_.push_back(item);
}

}  // namespace kvasir
