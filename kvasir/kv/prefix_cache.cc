#include "kvasir/kv/prefix_cache.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

std::optional<BlockKey> KeyFromHex(std::string_view text) {
  BlockKey key;
  if (text.size() != 2 * key.bytes.size()) return std::nullopt;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    key.bytes[i / 2] = key.bytes[i / 2] << 4 | std::byte(digit);
  }
  return key;
}

}  // namespace

PrefixCache::PrefixCache(BlockPool& pool, const Digest& fingerprint, size_t pinned_block_count_max)
    : pool_(pool),
      fingerprint_(fingerprint),
      pinned_block_count_max_(pinned_block_count_max),
      index_(pool) {}

CachedPrefix PrefixCache::Lookup(std::span<const TokenId> tokens, std::string_view salt) const {
  return Describe(LastCachedBlock(tokens, salt), 0);
}

Result<CachedPrefix> PrefixCache::Pin(std::span<const TokenId> tokens, std::string_view salt) {
  const BlockId block = LastCachedBlock(tokens, salt);
  if (block == kNoBlock) {
    return NotFound("none of the prompt's " + std::to_string(tokens.size()) +
                    " tokens is cached, and only what is cached can be pinned");
  }
  if (index_.entry(block).own_pin_count == 0) {
    size_t added = 0;
    for (BlockId b = block; b != kNoBlock; b = index_.entry(b).parent) {
      added += index_.entry(b).pin_count == 0;
    }
    if (index_.pinned_block_count() + added > pinned_block_count_max_) {
      return ResourceExhausted("the prefix has " + std::to_string(added) +
                               " blocks that are not pinned yet, " +
                               std::to_string(index_.pinned_block_count()) + " of at most " +
                               std::to_string(pinned_block_count_max_) + " are pinned already");
    }
    index_.Pin(block);
  }
  return Describe(block, 0);
}

bool PrefixCache::Unpin(std::string_view id) {
  const auto key = KeyFromHex(id);
  const BlockId block = key ? index_.Find(*key) : kNoBlock;
  if (block == kNoBlock || index_.entry(block).own_pin_count == 0) return false;
  index_.Unpin(block);
  return true;
}

size_t PrefixCache::Drop(std::string_view id) {
  const auto key = KeyFromHex(id);
  const BlockId block = key ? index_.Find(*key) : kNoBlock;
  const size_t count = block == kNoBlock ? 0 : index_.Drop(block);
  dropped_block_count_ += count;
  return count;
}

size_t PrefixCache::DropSalt(std::string_view salt) {
  const size_t count = index_.DropSalt(salt);
  dropped_block_count_ += count;
  return count;
}

size_t PrefixCache::DropAll() {
  const size_t count = index_.DropAll();
  dropped_block_count_ += count;
  return count;
}

std::vector<CachedPrefix> PrefixCache::List(size_t count_max, size_t token_count_max) const {
  std::vector<CachedPrefix> prefixes;
  for (const BlockId block : index_.Ends()) {
    if (prefixes.size() == count_max) break;
    prefixes.push_back(Describe(block, token_count_max));
  }
  return prefixes;
}

PrefixCacheStats PrefixCache::stats() const {
  return {.block_count = index_.block_count(),
          .block_bytes = pool_.layout().block_bytes(),
          .pinned_block_count = index_.pinned_block_count(),
          .pinned_block_count_max = pinned_block_count_max_,
          .stored_block_count = index_.stored_count(),
          .evicted_block_count = index_.evicted_count(),
          .dropped_block_count = dropped_block_count_};
}

CachedPrefix PrefixCache::Describe(BlockId block, size_t token_count_max) const {
  CachedPrefix prefix;
  if (block == kNoBlock) return prefix;
  const PrefixIndex::Entry& last = index_.entry(block);
  prefix.id = ToHex(last.key);
  prefix.salt = last.salt;
  prefix.token_count = (size_t{last.depth} + 1) * kKvBlockTokens;
  prefix.pinned = last.own_pin_count > 0;
  prefix.tokens.resize(std::min(token_count_max, prefix.token_count));
  for (BlockId b = block; b != kNoBlock; b = index_.entry(b).parent) {
    const PrefixIndex::Entry& entry = index_.entry(b);
    const size_t first = size_t{entry.depth} * kKvBlockTokens;
    for (size_t i = first; i < std::min(prefix.tokens.size(), first + kKvBlockTokens); ++i) {
      prefix.tokens[i] = entry.tokens[i - first];
    }
  }
  return prefix;
}

std::vector<BlockKey> PrefixCache::Keys(std::span<const TokenId> tokens,
                                        std::string_view salt) const {
  std::vector<BlockKey> keys;
  BlockKey key = RootKey(fingerprint_, salt);
  for (size_t first = 0; first + kKvBlockTokens <= tokens.size(); first += kKvBlockTokens) {
    keys.push_back(key = NextKey(key, tokens.subspan(first, kKvBlockTokens)));
  }
  return keys;
}

std::vector<BlockKey> PrefixCache::KeysOfPrefix(std::string_view id) const {
  std::vector<BlockKey> keys;
  const auto key = KeyFromHex(id);
  BlockId block = key ? index_.Find(*key) : kNoBlock;
  for (; block != kNoBlock; block = index_.entry(block).parent) {
    keys.push_back(index_.entry(block).key);
  }
  std::reverse(keys.begin(), keys.end());
  return keys;
}

std::vector<BlockKey> PrefixCache::KeysBehind(std::string_view id) const {
  const auto key = KeyFromHex(id);
  const BlockId first = key ? index_.Find(*key) : kNoBlock;
  if (first == kNoBlock) return {};
  // Parents have lower depths than what follows them.
  std::vector<BlockId> blocks;
  for (BlockId block = 0; size_t(block) < pool_.block_count(); ++block) {
    if (index_.Knows(block)) blocks.push_back(block);
  }
  std::stable_sort(blocks.begin(), blocks.end(), [&](BlockId a, BlockId b) {
    return index_.entry(a).depth < index_.entry(b).depth;
  });
  std::vector<bool> behind(pool_.block_count(), false);
  std::vector<BlockKey> keys;
  for (const BlockId block : blocks) {
    const PrefixIndex::Entry& entry = index_.entry(block);
    const bool follows = entry.parent != kNoBlock && behind[size_t(entry.parent)];
    if (block != first && !follows) continue;
    behind[size_t(block)] = true;
    keys.push_back(entry.key);
  }
  return keys;
}

MissReason PrefixCache::ExplainMiss(std::span<const TokenId> tokens, std::string_view salt) const {
  const BlockId last = LastCachedBlock(tokens, salt);
  const size_t known =
      last == kNoBlock ? 0 : (size_t{index_.entry(last).depth} + 1) * kKvBlockTokens;
  if (tokens.empty() || known + kKvBlockTokens > tokens.size() - 1) return {};
  MissReason reason = {.kind = MissReason::Kind::kEnd};
  size_t common_most = 0;
  for (BlockId block = 0; size_t(block) < pool_.block_count(); ++block) {
    if (!index_.Knows(block)) continue;
    const PrefixIndex::Entry& entry = index_.entry(block);
    if (entry.parent == kNoBlock && entry.salt != salt) {
      const BlockId other = LastCachedBlock(tokens, entry.salt);
      if (other == kNoBlock) continue;
      const size_t count = (size_t{index_.entry(other).depth} + 1) * kKvBlockTokens;
      if (count <= std::max(known, reason.other_salt_token_count)) continue;
      reason.kind = MissReason::Kind::kSalt;
      reason.other_salt_token_count = count;
    } else if (entry.parent == last && entry.salt == salt) {
      const auto ahead = tokens.subspan(known, kKvBlockTokens);
      const auto differs = std::mismatch(ahead.begin(), ahead.end(), entry.tokens.begin());
      const size_t common = size_t(differs.first - ahead.begin());
      if (common == kKvBlockTokens || (reason.token != kNoToken && common <= common_most)) continue;
      common_most = common;
      if (reason.kind == MissReason::Kind::kEnd) reason.kind = MissReason::Kind::kToken;
      reason.token_index = known + common;
      reason.token = *differs.first;
      reason.cached_token = *differs.second;
    }
  }
  return reason;
}

BlockId PrefixCache::LastCachedBlock(std::span<const TokenId> tokens, std::string_view salt) const {
  std::vector<BlockId> blocks;
  index_.Match(kNoBlock, Keys(tokens, salt), tokens, &blocks);
  return blocks.empty() ? kNoBlock : blocks.back();
}

}  // namespace kvasir
