#include "kvasir/base/ghost_table.h"

#include <algorithm>
#include <bit>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

constexpr size_t kLineSlots = 8;
constexpr uint32_t kClassMask = 15;

// The tag takes the key's high bits, the line its low ones.
uint32_t Tag(uint64_t key) { return uint32_t(key >> 32) & ~kClassMask; }

// The latest time up to `now` that has these low bits.
uint64_t Widen(uint32_t low, uint64_t now) { return now - uint32_t(uint32_t(now) - low); }

}  // namespace

GhostTable::GhostTable(size_t count)
    : slots_(kLineSlots * std::max<size_t>(1, (count + kLineSlots - 1) / kLineSlots)) {}

size_t GhostTable::Line(uint64_t key) const {
  // The low 32 bits as a fraction of the lines: any number of lines will do.
  return kLineSlots * size_t((key & 0xffffffffu) * (slots_.size() / kLineSlots) >> 32);
}

size_t GhostTable::SlotOf(uint64_t key) const {
  const size_t line = Line(key);
  for (size_t slot = line; slot < line + kLineSlots; ++slot) {
    const uint32_t bits = slots_[slot].tag_and_class;
    if (bits != 0 && (bits & ~kClassMask) == Tag(key)) return slot;
  }
  return slots_.size();
}

std::optional<GhostTable::Ghost> GhostTable::At(size_t slot, uint64_t now) const {
  const Slot& s = slots_[slot];
  if (s.tag_and_class == 0) return std::nullopt;
  return Ghost{(s.tag_and_class & kClassMask) - 1, Widen(s.last_use, now)};
}

std::optional<GhostTable::Ghost> GhostTable::Find(uint64_t key, uint64_t now) const {
  const size_t slot = SlotOf(key);
  return slot == slots_.size() ? std::nullopt : At(slot, now);
}

void GhostTable::Put(uint64_t key, const Ghost& ghost, uint64_t now) {
  KVASIR_CHECK(ghost.use_class < kClassMask && ghost.last_use <= now);
  size_t slot = SlotOf(key);
  if (slot == slots_.size()) {
    const auto wait = [&](size_t s) {
      return slots_[s].tag_and_class == 0 ? UINT64_MAX : now - Widen(slots_[s].last_use, now);
    };
    slot = Line(key);
    for (size_t other = slot + 1; other % kLineSlots != 0; ++other) {
      if (wait(other) > wait(slot)) slot = other;
    }
  }
  slots_[slot] = {Tag(key) | uint32_t(ghost.use_class + 1), uint32_t(ghost.last_use)};
}

void GhostTable::Erase(uint64_t key) {
  const size_t slot = SlotOf(key);
  if (slot != slots_.size()) slots_[slot] = {};
}

}  // namespace kvasir
