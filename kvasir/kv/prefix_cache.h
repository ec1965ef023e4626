// PrefixCache: the beginnings of sequences whose keys and values are in memory, by tokens and salt:
// what an operator can ask and order. The engine works on the index below it. Owned by the engine;
// engine thread only.

#ifndef KVASIR_KV_PREFIX_CACHE_H_
#define KVASIR_KV_PREFIX_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kv/block_key.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/prefix_index.h"

namespace kvasir {

struct CachedPrefix {
  std::string id;          // 64 hexadecimal digits, the key of the last block; empty for no block
  std::string salt;        // as the request gave it
  size_t token_count = 0;  // a multiple of 32
  bool pinned = false;     // this very prefix, not a longer one
  std::vector<TokenId> tokens;  // the first ones, as many as were asked for
};

struct MissReason {
  enum class Kind {
    kNone,   // every complete block before the last token is cached
    kToken,  // a cached prefix goes on otherwise from token `token_index` on
    kSalt,   // more of it is cached under another salt
    kEnd,    // nothing cached goes on behind the prefix: never computed, or evicted
  };
  Kind kind = Kind::kNone;
  size_t token_index = 0;             // kToken: the first that differs
  TokenId token = kNoToken;           // there, of the prompt
  TokenId cached_token = kNoToken;    // there, of the nearest cached prefix
  size_t other_salt_token_count = 0;  // kSalt: tokens cached under it
};

struct PrefixCacheStats {
  size_t block_count = 0;  // findable, held by requests or not
  size_t block_bytes = 0;  // of one block
  size_t pinned_block_count = 0;
  size_t pinned_block_count_max = 0;
  uint64_t stored_block_count = 0;   // since creation
  uint64_t evicted_block_count = 0;  // to make room
  uint64_t dropped_block_count = 0;  // by Drop, DropSalt, DropAll
};

class PrefixCache {
 public:
  // `pool` must outlive the cache. At most `pinned_block_count_max` blocks can be pinned: the rest
  // of the pool is enough for one sequence at least.
  PrefixCache(BlockPool& pool, const Digest& fingerprint, size_t pinned_block_count_max);

  // What the cache knows of the beginning of `tokens`: the longest cached prefix, with no tokens
  // when there is none.
  CachedPrefix Lookup(std::span<const TokenId> tokens, std::string_view salt) const;
  // Why the longest cached prefix of `tokens` is no longer, as far as memory tells.
  MissReason ExplainMiss(std::span<const TokenId> tokens, std::string_view salt) const;
  // The keys of the complete blocks of `tokens`.
  std::vector<BlockKey> Keys(std::span<const TokenId> tokens, std::string_view salt) const;
  // Those of the cached prefix `id`, the first block first; none for an unknown id.
  std::vector<BlockKey> KeysOfPrefix(std::string_view id) const;
  // Those of the last block of the prefix `id` and of all cached blocks that continue it.
  std::vector<BlockKey> KeysBehind(std::string_view id) const;
  // Keeps the longest cached prefix of `tokens` until Unpin, whatever else needs memory. kNotFound
  // when no block of it is cached; kResourceExhausted beyond the maximum, with the numbers. A
  // prefix that is pinned already stays pinned once.
  Result<CachedPrefix> Pin(std::span<const TokenId> tokens, std::string_view salt);
  // Takes back a Pin; the blocks stay cached. False when no pinned prefix has this id.
  bool Unpin(std::string_view id);
  // Forgets the last block of the prefix `id` and everything that continues it, pinned or not.
  // Running requests keep the blocks that they hold. Returns the blocks forgotten, 0 for an unknown
  // id.
  size_t Drop(std::string_view id);
  size_t DropSalt(std::string_view salt);
  size_t DropAll();
  // The prefixes that no other prefix continues, and all pinned ones; the most recently used first,
  // at most `count_max`, each with its first `token_count_max` tokens.
  std::vector<CachedPrefix> List(size_t count_max, size_t token_count_max) const;
  PrefixCacheStats stats() const;

  const Digest& fingerprint() const { return fingerprint_; }
  PrefixIndex& index() { return index_; }
  const PrefixIndex& index() const { return index_; }

 private:
  CachedPrefix Describe(BlockId block, size_t token_count_max) const;
  // The last block of the longest cached prefix, kNoBlock when there is none.
  BlockId LastCachedBlock(std::span<const TokenId> tokens, std::string_view salt) const;

  BlockPool& pool_;
  Digest fingerprint_;
  size_t pinned_block_count_max_;
  uint64_t dropped_block_count_ = 0;
  PrefixIndex index_;
};

}  // namespace kvasir

#endif  // KVASIR_KV_PREFIX_CACHE_H_
