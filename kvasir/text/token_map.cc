#include "kvasir/text/token_map.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace kvasir {

namespace {

uint64_t HashText(std::string_view text) { return std::hash<std::string_view>{}(text); }

}  // namespace

Result<TokenMap> TokenMap::Build(const std::vector<std::pair<std::string_view, TokenId>>& tokens) {
  TokenMap map;
  size_t byte_count = 0;
  for (const auto& [text, id] : tokens) byte_count += text.size();
  map.texts_.reserve(byte_count);
  map.slots_.resize(std::bit_ceil(tokens.size() * 2 + 1));
  const size_t mask = map.slots_.size() - 1;
  for (const auto& [text, id] : tokens) {
    if (text.empty()) continue;
    if (text.size() > UINT32_MAX) {
      return DataLoss("token " + std::to_string(id) + " is longer than 4 GiB");
    }
    if (const TokenId other = map.Find(text); other != kNoToken) {
      return DataLoss("tokens " + std::to_string(other) + " and " + std::to_string(id) +
                      " have the same text, a vocabulary must not hold one twice");
    }
    const uint64_t hash = HashText(text);
    size_t at = hash & mask;
    while (map.slots_[at].byte_count != 0) at = (at + 1) & mask;
    map.slots_[at] = {map.texts_.size(), static_cast<uint32_t>(text.size()),
                      static_cast<uint32_t>(hash >> 32), id};
    map.texts_.append(text);
    map.text_bytes_max_ = std::max(map.text_bytes_max_, text.size());
  }
  return map;
}

TokenId TokenMap::Find(std::string_view text) const {
  if (slots_.empty() || text.empty() || text.size() > text_bytes_max_) return kNoToken;
  const size_t mask = slots_.size() - 1;
  const uint64_t hash = HashText(text);
  for (size_t at = hash & mask; slots_[at].byte_count != 0; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash == static_cast<uint32_t>(hash >> 32) && slot.byte_count == text.size() &&
        std::string_view(texts_).substr(slot.offset, slot.byte_count) == text) {
      return slot.id;
    }
  }
  return kNoToken;
}

}  // namespace kvasir
