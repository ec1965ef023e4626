#include "kvasir/kv/prefix_index.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/kv/block_table.h"

namespace kvasir {
namespace {

using Published = PrefixIndex::Published;

// Tokens of a block named by a letter: "ab" is two blocks.
std::vector<TokenId> Tokens(const std::string& letters) {
  std::vector<TokenId> tokens;
  for (const char c : letters) tokens.insert(tokens.end(), kKvBlockTokens, c);
  return tokens;
}

std::vector<BlockKey> Keys(const std::string& letters, const std::string& salt = "") {
  std::vector<BlockKey> keys;
  BlockKey key = RootKey(Digest(), salt);
  for (const char c : letters) keys.push_back(key = NextKey(key, Tokens(std::string(1, c))));
  return keys;
}

class PrefixIndexTest : public testing::Test {
 protected:
  explicit PrefixIndexTest(size_t block_count = 8) {
    const KvBlockLayout layout = {.layer_count = 1, .kv_head_count = 1, .head_dim = 4};
    pool_ = BlockPool::Create(layout, block_count).value();
    index_ = std::make_unique<PrefixIndex>(*pool_);
  }

  std::vector<BlockId> Match(const std::string& letters, const std::string& salt = "") {
    std::vector<BlockId> blocks;
    index_->Match(kNoBlock, Keys(letters, salt), Tokens(letters), &blocks);
    return blocks;
  }

  // A sequence of blocks named by letters: takes what is known, computes and publishes the rest.
  BlockTable Compute(const std::string& letters, const std::string& salt = "") {
    BlockTable table(*pool_);
    table.AppendShared(Match(letters, salt));
    const std::vector<BlockKey> keys = Keys(letters, salt);
    for (size_t i = table.blocks().size(); i < letters.size(); ++i) {
      EXPECT_TRUE(table.Extend(kKvBlockTokens).ok());
      BlockId known = kNoBlock;
      EXPECT_EQ(index_->Publish(salt, i == 0 ? kNoBlock : table.blocks()[i - 1], keys[i],
                                Tokens(letters.substr(i, 1)), table.blocks()[i], &known),
                Published::kStored);
    }
    return table;
  }

  // Makes room for `count` blocks and gives them back.
  void Press(size_t count) {
    BlockTable table(*pool_);
    ASSERT_TRUE(table.Extend(count * kKvBlockTokens).ok());
  }

  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<PrefixIndex> index_;
};

TEST_F(PrefixIndexTest, FindsTheLongestKnownBeginning) {
  const BlockTable table = Compute("abc");
  const std::vector<BlockId> blocks(table.blocks().begin(), table.blocks().end());
  EXPECT_EQ(Match("abc"), blocks);
  EXPECT_EQ(Match("abcd"), blocks);
  EXPECT_EQ(Match("abx"), std::vector<BlockId>(blocks.begin(), blocks.begin() + 2));
  EXPECT_EQ(Match("bc"), std::vector<BlockId>());  // known, but behind something else
  EXPECT_EQ(Match(""), std::vector<BlockId>());
  std::vector<BlockId> rest;
  const std::vector<BlockKey> keys = Keys("abcd");
  index_->Match(blocks[0], std::span(keys).subspan(1), Tokens("bcd"), &rest);
  EXPECT_EQ(rest, std::vector<BlockId>(blocks.begin() + 1, blocks.end()));
}

TEST_F(PrefixIndexTest, BlocksOutliveTheirLastHolder) {
  { const BlockTable table = Compute("abc"); }
  EXPECT_EQ(pool_->free_count(), 5);
  EXPECT_EQ(pool_->kept_count(), 3);
  EXPECT_EQ(pool_->available_count(), 8);
  BlockTable again(*pool_);
  again.AppendShared(Match("abc"));
  EXPECT_EQ(again.token_count(), 96);
  EXPECT_EQ(pool_->kept_count(), 0);
  EXPECT_EQ(pool_->ReferenceCount(again.blocks()[2]), 1);
}

TEST_F(PrefixIndexTest, EvictsTheLeastRecentlyReleasedChildrenBeforeParents) {
  { const BlockTable table = Compute("abcd"); }
  { const BlockTable table = Compute("xy"); }
  EXPECT_EQ(pool_->free_count(), 2);
  Press(3);  // two free blocks and one more: d goes first
  EXPECT_EQ(Match("abcd").size(), 3);
  EXPECT_EQ(Match("xy").size(), 2);
  { const BlockTable table = Compute("abc"); }  // used again: x and y are older now
  Press(pool_->free_count() + 2);
  EXPECT_EQ(Match("xy").size(), 0);
  EXPECT_EQ(Match("abc").size(), 3);
  Press(8);
  EXPECT_EQ(Match("abc").size(), 0);
  EXPECT_EQ(index_->block_count(), 0);
  EXPECT_EQ(index_->evicted_count(), 6);
}

TEST_F(PrefixIndexTest, ABranchGoesBeforeItsTrunk) {
  { const BlockTable table = Compute("abc"); }
  { const BlockTable table = Compute("abx"); }
  EXPECT_EQ(index_->block_count(), 4);
  Press(4 + 1);
  EXPECT_EQ(Match("abc").size(), 2);  // c is the older branch
  EXPECT_EQ(Match("abx").size(), 3);
  Press(5 + 1);
  EXPECT_EQ(Match("abx").size(), 2);
}

TEST_F(PrefixIndexTest, WhatIsHeldIsNotEvicted) {
  const BlockTable table = Compute("ab");
  { const BlockTable other = Compute("abcd"); }
  Press(6);
  EXPECT_EQ(Match("abcd").size(), 2);
  BlockTable greedy(*pool_);
  EXPECT_EQ(greedy.Extend(7 * kKvBlockTokens).code(), StatusCode::kResourceExhausted);
}

TEST_F(PrefixIndexTest, PublishingASecondTimeNamesTheFirst) {
  const BlockTable first = Compute("ab");
  BlockTable second(*pool_);
  ASSERT_TRUE(second.Extend(kKvBlockTokens).ok());
  const BlockId own = second.blocks()[0];
  BlockId known = kNoBlock;
  EXPECT_EQ(index_->Publish("", kNoBlock, Keys("a")[0], Tokens("a"), own, &known),
            Published::kKnown);
  EXPECT_EQ(known, first.blocks()[0]);
  second.Replace(0, known);
  EXPECT_EQ(pool_->ReferenceCount(known), 2);
  EXPECT_EQ(pool_->ReferenceCount(own), 0);
  EXPECT_EQ(pool_->kept_count(), 0) << "an unpublished block is free at once";
}

// A key of 256 bits does not collide by accident; if it ever does, the tokens decide.
TEST_F(PrefixIndexTest, AForgedKeyIsAMiss) {
  const BlockTable table = Compute("ab");
  const std::vector<BlockKey> keys = Keys("ab");
  std::vector<BlockId> blocks;
  index_->Match(kNoBlock, keys, Tokens("ax"), &blocks);
  EXPECT_EQ(blocks.size(), 1);
  blocks.clear();
  index_->Match(kNoBlock, std::span(keys).subspan(1), Tokens("b"), &blocks);
  EXPECT_EQ(blocks.size(), 0) << "the right tokens behind the wrong parent";

  BlockTable other(*pool_);
  ASSERT_TRUE(other.Extend(kKvBlockTokens).ok());
  BlockId known = kNoBlock;
  EXPECT_EQ(index_->Publish("", kNoBlock, keys[0], Tokens("x"), other.blocks()[0], &known),
            Published::kOrphan);
  EXPECT_EQ(known, kNoBlock);
}

TEST_F(PrefixIndexTest, SaltsIsolate) {
  const BlockTable a = Compute("ab", "tenant a");
  EXPECT_EQ(Match("ab", "tenant a").size(), 2);
  EXPECT_EQ(Match("ab", "tenant b").size(), 0);
  EXPECT_EQ(Match("ab").size(), 0);
  const BlockTable b = Compute("ab", "tenant b");
  EXPECT_NE(a.blocks()[0], b.blocks()[0]);
  EXPECT_EQ(index_->DropSalt("tenant a"), 2);
  EXPECT_EQ(index_->DropSalt("tenant a"), 0);
  EXPECT_EQ(Match("ab", "tenant a").size(), 0);
  EXPECT_EQ(Match("ab", "tenant b").size(), 2);
}

TEST_F(PrefixIndexTest, PinnedBlocksStayWhateverElseNeedsMemory) {
  BlockId b = kNoBlock;
  {
    const BlockTable table = Compute("abc");
    b = table.blocks()[1];
  }
  index_->Pin(b);
  index_->Pin(b);
  EXPECT_EQ(index_->pinned_block_count(), 2);
  EXPECT_EQ(pool_->available_count(), 6);
  Press(6);
  EXPECT_EQ(Match("abc").size(), 2);
  index_->Unpin(b);
  EXPECT_EQ(index_->pinned_block_count(), 2);
  index_->Unpin(b);
  EXPECT_EQ(index_->pinned_block_count(), 0);
  EXPECT_EQ(pool_->available_count(), 8);
  Press(8);
  EXPECT_EQ(Match("abc").size(), 0);
}

TEST_F(PrefixIndexTest, DropForgetsABlockAndWhatFollows) {
  BlockTable holder = Compute("ab");
  { const BlockTable table = Compute("abcd"); }
  { const BlockTable table = Compute("abx"); }
  index_->Pin(Match("abcd").back());
  EXPECT_EQ(index_->Drop(Match("ab").back()), 4);
  EXPECT_EQ(Match("abcd").size(), 1);
  EXPECT_EQ(index_->pinned_block_count(), 0);
  EXPECT_EQ(pool_->free_count(), 6) << "c, d and x are empty, b is still held";
  // What follows a forgotten block cannot be found, so it is not published.
  ASSERT_TRUE(holder.Extend(kKvBlockTokens).ok());
  BlockId known = kNoBlock;
  EXPECT_EQ(index_->Publish("", holder.blocks()[1], Keys("abc")[2], Tokens("c"), holder.blocks()[2],
                            &known),
            Published::kOrphan);
  holder.Clear();
  EXPECT_EQ(pool_->free_count(), 7);
  EXPECT_EQ(pool_->kept_count(), 1);
  EXPECT_EQ(index_->DropAll(), 1);
  EXPECT_EQ(pool_->free_count(), 8);
}

TEST_F(PrefixIndexTest, ListsTheEndsTheMostRecentFirst) {
  { const BlockTable table = Compute("abc"); }
  { const BlockTable table = Compute("xy"); }
  const BlockTable held = Compute("abq");
  index_->Pin(Match("ab").back());
  std::vector<TokenId> names;
  for (const BlockId block : index_->Ends()) names.push_back(index_->entry(block).tokens[0]);
  // Held ones and pins in the order of their numbers, then by release.
  EXPECT_EQ(names, (std::vector<TokenId>{'b', 'q', 'y', 'c'}));
}

TEST_F(PrefixIndexTest, WithoutAnIndexReleasedBlocksAreFree) {
  { const BlockTable table = Compute("abc"); }
  index_.reset();
  EXPECT_EQ(pool_->free_count(), 8);
  Press(8);
}

// Eight prompts that come again in turn, between prompts that never do: 72 blocks pass from one use
// to the next, three times what the pool has, so that LRU would find none of them.
class PrefixIndexScanTest : public PrefixIndexTest {
 protected:
  PrefixIndexScanTest() : PrefixIndexTest(24) {}
};

TEST_F(PrefixIndexScanTest, PromptsThatComeOnceDoNotDriveOutThoseThatReturn) {
  size_t found = 0;
  int once = 0;
  for (int round = 0; round < 200; ++round) {
    for (char prompt = 'a'; prompt <= 'h'; ++prompt) {
      const std::string letters(1, prompt);
      found += round >= 100 && !Match(letters).empty();
      { const BlockTable table = Compute(letters); }
      for (int i = 0; i < 4; ++i, ++once) {
        const BlockTable table = Compute("xy", std::to_string(once));
      }
    }
  }
  EXPECT_GT(found, 100u * 8 * 7 / 10);
}

TEST_F(PrefixIndexScanTest, UsesOfBlocksThatAreHeldCount) {
  // Both prompts were released at the same time, "a" was taken often while it was held.
  {
    const BlockTable a = Compute("a"), b = Compute("b");
    for (int i = 0; i < 100; ++i) {
      index_->CountUse(Match("a"));
      // Others come once and go, so that it is learnt what a use is worth.
      if (i % 4 == 0) Press(22);
      { const BlockTable other = Compute("xy", std::to_string(i)); }
    }
  }
  Press(pool_->free_count() + pool_->kept_count() - 1);
  EXPECT_EQ(Match("a").size(), 1);
  EXPECT_EQ(Match("b").size(), 0);
}

// Random sequences over few letters, held for random times: whatever is found holds the tokens that
// were asked for, parents never go before their children, and no block is lost.
class PrefixIndexWalkTest : public PrefixIndexTest {
 protected:
  PrefixIndexWalkTest() : PrefixIndexTest(24) {}
};

TEST_F(PrefixIndexWalkTest, SurvivesARandomWalk) {
  std::mt19937 random(7);
  std::vector<BlockTable> held;
  std::vector<BlockId> pins;
  std::map<BlockId, std::string> contents;  // of published blocks, with all before them
  for (int step = 0; step < 4000; ++step) {
    const uint32_t action = random() % 10;
    if (action < 5) {
      std::string letters;
      for (size_t i = 1 + random() % 6; i > 0; --i) letters += "ab"[random() % 2];
      const std::vector<BlockId> found = Match(letters);
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(contents[found[i]], letters.substr(0, i + 1));
      }
      if (pool_->available_count() < letters.size() + 1) continue;
      BlockTable table = Compute(letters);
      for (size_t i = 0; i < letters.size(); ++i) {
        contents[table.blocks()[i]] = letters.substr(0, i + 1);
      }
      if (random() % 2) held.push_back(std::move(table));
    } else if (action < 7 && !held.empty()) {
      held.erase(held.begin() + ptrdiff_t(random() % held.size()));
    } else if (action == 7) {
      const std::vector<BlockId> ends = index_->Ends();
      if (ends.empty() || index_->pinned_block_count() > 8) continue;
      pins.push_back(ends[random() % ends.size()]);
      index_->Pin(pins.back());
    } else if (action == 8 && !pins.empty()) {
      index_->Unpin(pins.back());
      pins.pop_back();
    } else if (random() % 8 == 0) {
      const std::vector<BlockId> ends = index_->Ends();
      const bool pinned = ends.empty() || index_->IsPinned(ends[0]);
      if (!pinned) index_->Drop(ends[0]);
    }
    std::set<BlockId> in_use;
    for (const BlockTable& table : held)
      in_use.insert(table.blocks().begin(), table.blocks().end());
    for (BlockId pin : pins) {
      for (; pin != kNoBlock; pin = index_->entry(pin).parent) in_use.insert(pin);
    }
    ASSERT_EQ(in_use.size() + pool_->available_count(), pool_->block_count());
    for (size_t block = 0; block < pool_->block_count(); ++block) {
      if (!index_->Knows(BlockId(block))) continue;
      const BlockId parent = index_->entry(BlockId(block)).parent;
      ASSERT_TRUE(parent == kNoBlock || index_->Knows(parent)) << "a parent went before its child";
    }
  }
  EXPECT_GT(index_->evicted_count(), 100);
}

}  // namespace
}  // namespace kvasir
