#include "kvasir/engine/prefix_sharing.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

size_t PrefixSharing::KeyHash::operator()(const BlockKey& key) const {
  size_t hash;  // any bytes of a cryptographic hash are a hash
  std::memcpy(&hash, key.bytes.data(), sizeof(hash));
  return hash;
}

PrefixSharing::PrefixSharing(PrefixCache* cache, TierManager* tiers, const BlockPool& pool,
                             bool prompts_only)
    : cache_(cache),
      tiers_(tiers),
      pool_(pool),
      prompts_only_(prompts_only),
      counted_(pool.block_count(), 0) {}

bool PrefixSharing::Reads(const Sequence& sequence) const {
  return cache_ != nullptr && sequence.request().cache_read && !sequence.wants_all_logits();
}

void PrefixSharing::UpdateKeys(Sequence& sequence) const {
  const Request& request = sequence.request();
  if (cache_ == nullptr || !(request.cache_read || request.cache_write)) return;
  std::vector<BlockKey>& keys = sequence.sharing().keys;
  for (size_t i = keys.size(); (i + 1) * kKvBlockTokens <= sequence.tokens().size(); ++i) {
    const BlockKey parent =
        i == 0 ? RootKey(cache_->fingerprint(), request.cache_salt) : keys[i - 1];
    keys.push_back(NextKey(parent, sequence.tokens().subspan(i * kKvBlockTokens, kKvBlockTokens)));
  }
}

std::span<const BlockKey> PrefixSharing::SharableKeys(const Sequence& sequence) const {
  const std::vector<BlockKey>& keys = sequence.sharing().keys;
  return std::span(keys).first(
      std::min(keys.size(), (sequence.tokens().size() - 1) / kKvBlockTokens));
}

PrefixSharing::Adopted PrefixSharing::Adopt(Sequence& sequence) {
  UpdateKeys(sequence);
  if (!Reads(sequence)) return {};
  BlockTable& table = sequence.blocks();
  const size_t held = table.complete_block_count();
  const std::span<const BlockKey> keys = SharableKeys(sequence);
  if (held >= keys.size() || sequence.sharing().indexed_count != held) return {};
  matched_.clear();
  cache_->index().Match(held == 0 ? kNoBlock : table.blocks()[held - 1], keys.subspan(held),
                        sequence.tokens().subspan(held * kKvBlockTokens), &matched_);
  if (matched_.empty()) return {};
  cache_->index().CountUse(matched_);
  table.AppendShared(matched_);
  sequence.sharing().indexed_count = table.complete_block_count();
  return {matched_.size(), tiers_ == nullptr ? 0 : tiers_->Adopted(matched_)};
}

WantedBlocks PrefixSharing::Missing(Sequence& sequence, bool let_in) {
  UpdateKeys(sequence);
  if (!Reads(sequence)) return {};
  const std::span<const BlockKey> keys = SharableKeys(sequence);
  const BlockTable& table = sequence.blocks();
  size_t known = table.complete_block_count();
  WantedBlocks wanted = {.salt = sequence.request().cache_salt};
  if (let_in) {
    if (known >= keys.size() || sequence.sharing().indexed_count != known) return {};
    if (known > 0) wanted.parent = table.blocks()[known - 1];
  } else {
    matched_.clear();
    cache_->index().Match(kNoBlock, keys, sequence.tokens(), &matched_);
    known = matched_.size();
    if (known > 0) wanted.parent = matched_.back();
  }
  wanted.token_start = known * kKvBlockTokens;
  wanted.keys = keys.subspan(known);
  wanted.tokens = sequence.tokens().subspan(wanted.token_start);
  return wanted;
}

void PrefixSharing::Publish(Sequence& sequence) {
  UpdateKeys(sequence);
  if (sequence.sharing().keys.empty()) return;
  PrefixIndex& index = cache_->index();
  BlockTable& table = sequence.blocks();
  size_t& indexed = sequence.sharing().indexed_count;
  bool& orphaned = sequence.sharing().orphaned;
  size_t publishable = table.complete_block_count();
  if (prompts_only_) {
    publishable = std::min(publishable, sequence.prompt().size() / size_t{kKvBlockTokens});
  }
  for (; indexed < publishable && !orphaned; ++indexed) {
    const BlockKey& key = sequence.sharing().keys[indexed];
    const auto tokens = sequence.tokens().subspan(indexed * kKvBlockTokens, kKvBlockTokens);
    const BlockId parent = indexed == 0 ? kNoBlock : table.blocks()[indexed - 1];
    BlockId known = kNoBlock;
    if (sequence.request().cache_write) {
      const auto published = index.Publish(sequence.request().cache_salt, parent, key, tokens,
                                           table.blocks()[indexed], &known);
      if (published == PrefixIndex::Published::kStored) {
        if (tiers_ != nullptr) tiers_->Published(table.blocks()[indexed]);
        continue;
      }
    } else {
      matched_.clear();
      index.Match(parent, {&key, 1}, tokens, &matched_);
      if (!matched_.empty()) known = matched_[0];
    }
    // Its own block would be a second one with the same contents. Without one to take instead, what
    // follows it cannot be found either.
    orphaned = known == kNoBlock || !Reads(sequence);
    if (orphaned) return;
    table.Replace(indexed, known);
  }
}

void PrefixSharing::Release(Sequence& sequence) {
  sequence.blocks().Clear();
  sequence.sharing().indexed_count = 0;
  sequence.sharing().orphaned = false;
}

void PrefixSharing::Describe(std::span<const std::unique_ptr<Sequence>> sequences,
                             size_t running_count, size_t candidate_count,
                             std::vector<SchedulerSequence>* view) {
  ++describe_count_;
  leaders_.clear();
  view->clear();
  size_t missing_block_count = 0;  // of the candidates so far
  for (size_t i = 0; i < sequences.size() && i < running_count + candidate_count; ++i) {
    // More than the pool has cannot be let in, whoever is among them.
    if (i > running_count && missing_block_count > pool_.available_count()) return;
    Sequence& sequence = *sequences[i];
    SchedulerSequence& described = view->emplace_back();
    described.token_count = sequence.tokens().size();
    described.all_logits = sequence.wants_all_logits();
    described.loading = sequence.sharing().load != kNoLoad;
    if (i < running_count) {
      described.computed_count = sequence.blocks().token_count();
      described.block_count = sequence.blocks().blocks().size();
      for (const BlockId block : sequence.blocks().blocks()) {
        if (std::exchange(counted_[size_t(block)], describe_count_) == describe_count_) continue;
        described.own_block_count +=
            cache_ == nullptr || !(cache_->index().IsPinned(block) || pool_.IsGuarded(block));
      }
    } else {
      UpdateKeys(sequence);
      DescribeCandidate(sequence, &described);
    }
    if (cache_ != nullptr) FindLeader(sequences, i, &described);
    if (i >= running_count) {
      missing_block_count += described.token_count / kKvBlockTokens - described.block_count -
                             described.awaited_block_count;
    }
  }
}

void PrefixSharing::DescribeCandidate(const Sequence& sequence, SchedulerSequence* view) {
  if (!Reads(sequence)) return;
  matched_.clear();
  cache_->index().Match(kNoBlock, SharableKeys(sequence), sequence.tokens(), &matched_);
  view->computed_count = matched_.size() * kKvBlockTokens;
  view->block_count = matched_.size();
  for (const BlockId block : matched_) {
    if (std::exchange(counted_[size_t(block)], describe_count_) == describe_count_) continue;
    view->own_block_count += pool_.ReferenceCount(block) == 0 && !pool_.IsGuarded(block);
  }
}

void PrefixSharing::FindLeader(std::span<const std::unique_ptr<Sequence>> sequences, size_t index,
                               SchedulerSequence* view) {
  const Sequence& sequence = *sequences[index];
  const std::vector<BlockKey>& keys = sequence.sharing().keys;
  const size_t next = view->computed_count / kKvBlockTokens;
  if (next >= keys.size()) return;
  const auto found = leaders_.find(keys[next]);
  if (found == leaders_.end()) {
    if (sequence.request().cache_write && !sequence.sharing().orphaned) {
      leaders_.emplace(keys[next], index);
    }
    return;
  }
  const std::span<const BlockKey> sharable = SharableKeys(sequence);
  const bool behind_known_blocks =
      sequence.sharing().indexed_count == sequence.blocks().complete_block_count();
  if (!Reads(sequence) || next >= sharable.size() || !behind_known_blocks) return;
  // Keys are chained: what differs once differs for ever.
  const std::vector<BlockKey>& ahead = sequences[found->second]->sharing().keys;
  const size_t common =
      static_cast<size_t>(std::mismatch(sharable.begin() + ptrdiff_t(next), sharable.end(),
                                        ahead.begin() + ptrdiff_t(next), ahead.end())
                              .first -
                          sharable.begin());
  view->leader = found->second;
  view->awaited_block_count = common - next;
}

}  // namespace kvasir
