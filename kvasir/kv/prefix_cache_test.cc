#include "kvasir/kv/prefix_cache.h"

#include <memory>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/kv/block_table.h"

namespace kvasir {
namespace {

std::vector<TokenId> Sequence(size_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

class PrefixCacheTest : public testing::Test {
 protected:
  // Publishes the complete blocks of `tokens` and lets go of them.
  void Store(const std::vector<TokenId>& tokens, std::string_view salt = "") {
    BlockTable table(*pool_);
    BlockKey key = RootKey(cache_.fingerprint(), salt);
    for (size_t first = 0; first + kKvBlockTokens <= tokens.size(); first += kKvBlockTokens) {
      const auto block_tokens = std::span(tokens).subspan(first, kKvBlockTokens);
      const BlockId parent = first == 0 ? kNoBlock : table.blocks().back();
      ASSERT_TRUE(table.Extend(kKvBlockTokens).ok());
      BlockId known = kNoBlock;
      key = NextKey(key, block_tokens);
      if (cache_.index().Publish(salt, parent, key, block_tokens, table.blocks().back(), &known) ==
          PrefixIndex::Published::kKnown) {
        table.Replace(table.blocks().size() - 1, known);
      }
    }
  }

  std::unique_ptr<BlockPool> pool_ =
      BlockPool::Create({.layer_count = 1, .kv_head_count = 1, .head_dim = 4}, 10).value();
  PrefixCache cache_{*pool_, Digest(), /*pinned_block_count_max=*/4};
};

TEST_F(PrefixCacheTest, LooksUpTheLongestCachedPrefix) {
  Store(Sequence(100));
  const CachedPrefix prefix = cache_.Lookup(Sequence(200), "");
  EXPECT_EQ(prefix.token_count, 96);
  EXPECT_EQ(prefix.id.size(), 64);
  EXPECT_FALSE(prefix.pinned);
  EXPECT_EQ(cache_.Lookup(Sequence(70), "").token_count, 64);
  EXPECT_EQ(cache_.Lookup(Sequence(31), "").token_count, 0);
  EXPECT_EQ(cache_.Lookup(Sequence(200, 1), "").id, "");
  EXPECT_EQ(cache_.Lookup(Sequence(200), "other").token_count, 0);
}

TEST_F(PrefixCacheTest, PinsOnceAndUnpinsById) {
  Store(Sequence(100));
  const auto pin = cache_.Pin(Sequence(100), "");
  ASSERT_TRUE(pin.ok());
  EXPECT_TRUE(pin->pinned);
  EXPECT_EQ(pin->token_count, 96);
  ASSERT_TRUE(cache_.Pin(Sequence(100), "").ok());
  EXPECT_EQ(cache_.stats().pinned_block_count, 3);
  EXPECT_TRUE(cache_.Unpin(pin->id));
  EXPECT_FALSE(cache_.Unpin(pin->id));
  EXPECT_FALSE(cache_.Unpin("no such id"));
  EXPECT_FALSE(cache_.Unpin(std::string(64, 'g')));
  EXPECT_EQ(cache_.stats().pinned_block_count, 0);
}

TEST_F(PrefixCacheTest, RefusesPinsByName) {
  Store(Sequence(100));
  Store(Sequence(64, 500));
  EXPECT_EQ(cache_.Pin(Sequence(40, 900), "").status().message(),
            "none of the prompt's 40 tokens is cached, and only what is cached can be pinned");
  ASSERT_TRUE(cache_.Pin(Sequence(100), "").ok());
  const Status status = cache_.Pin(Sequence(64, 500), "").status();
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "the prefix has 2 blocks that are not pinned yet, 3 of at most 4 are pinned already");
}

TEST_F(PrefixCacheTest, ExplainsMisses) {
  using Kind = MissReason::Kind;
  Store(Sequence(64), "a");
  EXPECT_EQ(cache_.ExplainMiss(Sequence(65), "a").kind, Kind::kNone);
  EXPECT_EQ(cache_.ExplainMiss(Sequence(200), "a").kind, Kind::kEnd);
  EXPECT_EQ(cache_.ExplainMiss(Sequence(200, 900), "a").kind, Kind::kToken);
  std::vector<TokenId> changed = Sequence(65);
  changed[40] = 7000;
  const MissReason token = cache_.ExplainMiss(changed, "a");
  EXPECT_EQ(token.kind, Kind::kToken);
  EXPECT_EQ(token.token_index, 40u);
  EXPECT_EQ(token.token, 7000);
  EXPECT_EQ(token.cached_token, Sequence(65)[40]);
  const MissReason salt = cache_.ExplainMiss(Sequence(65), "b");
  EXPECT_EQ(salt.kind, Kind::kSalt);
  EXPECT_EQ(salt.other_salt_token_count, 64u);
}

TEST_F(PrefixCacheTest, NamesTheKeysOfAPrefixAndOfWhatFollows) {
  Store(Sequence(96));
  std::vector<TokenId> branch = Sequence(64);
  branch[50] = 7000;
  Store(branch);
  const std::vector<BlockKey> keys = cache_.Keys(Sequence(100), "");
  ASSERT_EQ(keys.size(), 3u);
  EXPECT_EQ(cache_.KeysOfPrefix(ToHex(keys[1])), (std::vector<BlockKey>{keys[0], keys[1]}));
  EXPECT_EQ(cache_.KeysBehind(ToHex(keys[1])), (std::vector<BlockKey>{keys[1], keys[2]}));
  EXPECT_EQ(cache_.KeysBehind(ToHex(keys[0])).size(), 4u);
  EXPECT_TRUE(cache_.KeysBehind("no such id").empty());
}

TEST_F(PrefixCacheTest, ListsAndDrops) {
  Store(Sequence(64), "a");
  Store(Sequence(40, 500), "b");
  std::vector<CachedPrefix> prefixes = cache_.List(10, 3);
  ASSERT_EQ(prefixes.size(), 2);
  EXPECT_EQ(prefixes[0].salt, "b");
  EXPECT_EQ(prefixes[0].tokens, (std::vector<TokenId>{500, 501, 502}));
  EXPECT_EQ(prefixes[1].salt, "a");
  EXPECT_EQ(prefixes[1].token_count, 64);
  EXPECT_EQ(cache_.List(10, 1000)[1].tokens, Sequence(64));
  EXPECT_EQ(cache_.List(1, 0).size(), 1);
  EXPECT_EQ(cache_.Drop(prefixes[1].id), 1);
  EXPECT_EQ(cache_.Drop(prefixes[1].id), 0);
  EXPECT_EQ(cache_.Lookup(Sequence(64), "a").token_count, 32);
  EXPECT_EQ(cache_.DropSalt("b"), 1);
  EXPECT_EQ(cache_.DropAll(), 1);
  EXPECT_EQ(cache_.List(10, 0).size(), 0);
  const PrefixCacheStats stats = cache_.stats();
  EXPECT_EQ(stats.block_count, 0);
  EXPECT_EQ(stats.stored_block_count, 3);
  EXPECT_EQ(stats.dropped_block_count, 3);
  EXPECT_EQ(stats.evicted_block_count, 0);
  EXPECT_EQ(pool_->free_count(), 10);
}

}  // namespace
}  // namespace kvasir
