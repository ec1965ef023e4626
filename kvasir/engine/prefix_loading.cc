#include "kvasir/engine/prefix_loading.h"

#include <algorithm>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

void PrefixLoading::Advance(std::span<const std::unique_ptr<Sequence>> sequences,
                            size_t running_count, size_t candidate_count, TierManager::Time now) {
  // Blocks that those inside need until they are one block longer than now; a load brings its own.
  size_t promised = 0;
  for (size_t i = 0; i < running_count; ++i) {
    const Sequence& sequence = *sequences[i];
    if (sequence.sharing().load != kNoLoad) continue;
    const size_t block_count = sequence.tokens().size() / kKvBlockTokens + 2;
    promised += block_count - std::min(block_count, sequence.blocks().blocks().size());
  }
  tiers_.AdvanceLoads(now, promised);
  for (size_t i = 0; i < sequences.size() && i < running_count + candidate_count; ++i) {
    AdvanceOne(*sequences[i], i < running_count, now);
  }
}

void PrefixLoading::AdvanceOne(Sequence& sequence, bool let_in, TierManager::Time now) {
  Sequence::Sharing& sharing = sequence.sharing();
  if (sharing.load != kNoLoad) {
    if (tiers_.IsLoading(sharing.load)) return;
    sharing.load = kNoLoad;
    // The load was begun for another: behind what it brought, the store may have more.
    if (sharing.load_joined) sharing.load_asked = false;
  }
  if (sharing.load_asked) return;
  sharing.load_asked = true;
  const WantedBlocks wanted = sharing_.Missing(sequence, let_in);
  const auto compute_seconds = [this, start = wanted.token_start](size_t block_count) {
    return compute_seconds_(start, block_count * kKvBlockTokens);
  };
  const BlockLoader::Ticket ticket = tiers_.Load(wanted, compute_seconds, now);
  sharing.load = ticket.id;
  sharing.load_joined = ticket.joined;
}

void PrefixLoading::Release(Sequence& sequence, TierManager::Time now) {
  Sequence::Sharing& sharing = sequence.sharing();
  if (sharing.load != kNoLoad) tiers_.Abandon(sharing.load, now);
  sharing.load = kNoLoad;
  sharing.load_asked = false;
}

}  // namespace kvasir
