#include "kvasir/base/eviction_policy.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace kvasir {
namespace {

using Item = EvictionPolicy::Item;
constexpr Item kNone = EvictionPolicy::kNone;

// A key as hashes are: any bits.
uint64_t Key(uint64_t n) {
  std::mt19937_64 random(n);
  return random();
}

TEST(EvictionPolicyTest, IsLruWhileItKnowsNothing) {
  EvictionPolicy policy(8);
  EXPECT_EQ(policy.Victim(), kNone);
  for (Item item = 0; item < 4; ++item) policy.Insert(item, Key(item), kNone, 1);
  EXPECT_EQ(policy.Victim(), 0);
  policy.Use(0);
  EXPECT_EQ(policy.Victim(), 1);
  policy.Remove(1, true);
  EXPECT_EQ(policy.Victim(), 2);
  EXPECT_FALSE(policy.Contains(1));
  EXPECT_EQ(policy.item_count(), 3);
}

TEST(EvictionPolicyTest, ChildrenGoBeforeTheirParents) {
  EvictionPolicy policy(8);
  policy.Insert(0, Key(0), kNone, 1);
  policy.Insert(1, Key(1), 0, 1);
  policy.Insert(2, Key(2), 1, 1);
  policy.Insert(3, Key(3), 0, 1);
  policy.Use(2);  // the newest, but 0 and 1 have children
  std::vector<Item> gone;
  while (policy.Victim() != kNone) {
    gone.push_back(policy.Victim());
    policy.Remove(gone.back(), true);
  }
  EXPECT_EQ(gone, (std::vector<Item>{3, 2, 1, 0}));
}

TEST(EvictionPolicyTest, WhatIsHeldStays) {
  EvictionPolicy policy(8);
  policy.Insert(0, Key(0), kNone, 1);
  policy.Insert(1, Key(1), kNone, 1);
  policy.Hold(0);
  policy.Hold(0);
  policy.Release(0);
  EXPECT_EQ(policy.Victim(), 1);
  policy.Hold(1);
  EXPECT_EQ(policy.Victim(), kNone);
  policy.Insert(2, Key(2), kNone, 1);
  policy.Release(0);
  policy.Remove(2, true);
  EXPECT_EQ(policy.Victim(), 0);
}

TEST(EvictionPolicyTest, OfTwoAlikeTheLargerGoes) {
  EvictionPolicy policy(8);
  policy.Insert(0, Key(0), kNone, 1000);
  policy.Insert(1, Key(1), kNone, 4000);
  EXPECT_NEAR(policy.Value(0) / policy.Value(1), 4, 0.7);  // sizes count in half octaves
  EXPECT_EQ(policy.Victim(), 1);
}

// Keeps up to `capacity` of the keys that it is asked for; says whether it had this one.
class Cache {
 public:
  explicit Cache(size_t capacity) : policy_(capacity) {
    for (size_t item = capacity; item-- > 0;) free_.push_back(Item(item));
  }
  bool Ask(uint64_t n) {
    if (const auto found = items_.find(n); found != items_.end()) {
      policy_.Use(found->second);
      return true;
    }
    if (free_.empty()) {
      const Item victim = policy_.Victim();
      items_.erase(names_[victim]);
      policy_.Remove(victim, true);
      free_.push_back(victim);
    }
    policy_.Insert(free_.back(), Key(n), kNone, 1);
    names_[free_.back()] = n;
    items_[n] = free_.back();
    free_.pop_back();
    return false;
  }

 private:
  EvictionPolicy policy_;
  std::map<uint64_t, Item> items_;
  std::map<Item, uint64_t> names_;
  std::vector<Item> free_;
};

// A round of 300 keys through 200 places: LRU never finds one, the best finds about two thirds.
TEST(EvictionPolicyTest, ALoopThatDoesNotFitIsKeptInPart) {
  Cache cache(200);
  size_t hits = 0;
  for (int round = 0; round < 60; ++round) {
    for (uint64_t n = 0; n < 300; ++n) hits += cache.Ask(n) && round >= 30;
  }
  EXPECT_GT(hits, 30u * 300 * 4 / 10);
}

// Fifty keys that come again after a while, between keys that never do: LRU would need 450 places.
TEST(EvictionPolicyTest, AScanDoesNotDriveOutWhatIsUsed) {
  Cache cache(100);
  size_t hits = 0;
  uint64_t next = 1000;
  for (int round = 0; round < 400; ++round) {
    for (uint64_t n = 0; n < 50; ++n) {
      hits += cache.Ask(n) && round >= 200;
      for (int i = 0; i < 8; ++i) cache.Ask(next++);
    }
  }
  EXPECT_GT(hits, 200u * 50 * 8 / 10);
}

// Whatever is done, the victim is a record that is there, that nobody holds and none follows, and
// there is one whenever there is such a record; two policies told the same name the same.
TEST(EvictionPolicyTest, SurvivesARandomWalk) {
  struct Known {
    Item parent;
    uint32_t children = 0, holds = 0;
  };
  EvictionPolicy policy(64), twin(64);
  std::map<Item, Known> known;
  std::mt19937 random(3);
  const auto any = [&] {
    return std::next(known.begin(), ptrdiff_t(random() % known.size()))->first;
  };
  for (int step = 0; step < 50'000; ++step) {
    const uint32_t action = random() % 8;
    if (action < 3 || known.empty()) {
      const Item item = random() % 100;
      if (known.contains(item)) continue;
      const Item parent = known.empty() || random() % 3 == 0 ? kNone : any();
      if (parent != kNone) ++known[parent].children;
      known[item] = {parent};
      const uint64_t key = Key(random() % 300), bytes = 1 + random() % 5000;
      policy.Insert(item, key, parent, bytes);
      twin.Insert(item, key, parent, bytes);
    } else if (action == 3) {
      const Item item = any();
      policy.Use(item);
      twin.Use(item);
    } else if (action == 4) {
      const Item item = any();
      ++known[item].holds;
      policy.Hold(item);
      twin.Hold(item);
    } else if (action == 5) {
      const Item item = any();
      if (known[item].holds == 0) continue;
      --known[item].holds;
      policy.Release(item);
      twin.Release(item);
    } else {
      const Item victim = policy.Victim();
      ASSERT_EQ(victim, twin.Victim());
      size_t can_go = 0;
      for (const auto& [item, k] : known) can_go += k.children == 0 && k.holds == 0;
      ASSERT_EQ(victim == kNone, can_go == 0);
      if (victim == kNone) continue;
      ASSERT_TRUE(known.contains(victim));
      ASSERT_EQ(known[victim].children + known[victim].holds, 0);
      if (known[victim].parent != kNone) --known[known[victim].parent].children;
      known.erase(victim);
      policy.Remove(victim, action == 6);
      twin.Remove(victim, action == 6);
    }
    ASSERT_EQ(policy.item_count(), known.size());
  }
}

}  // namespace
}  // namespace kvasir
