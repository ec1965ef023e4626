// The contract of BlockStore on the plainest store: what is put comes back, what differs is a miss
// that says why, a damaged bit is a loss, and caps, pins, expiry and deadlines hold.

#include "kvasir/store/memory_store.h"

#include <gtest/gtest.h>

#include "kvasir/store/store_test_util.h"

namespace kvasir {
namespace {

TEST(MemoryStore, GivesBackWhatWasPut) {
  MemoryStore store;
  const TestBlock block(0);
  EXPECT_EQ(GetBlock(store, block).code(), StatusCode::kNotFound);
  EXPECT_TRUE(PutBlock(store, block).ok());
  EXPECT_TRUE(GetBlock(store, block).ok());
  EXPECT_TRUE(PutBlock(store, block).ok());
  const StoreStats stats = store.stats();
  EXPECT_EQ(stats.record_count, 1u);
  EXPECT_EQ(stats.stored_count, 1u);
  EXPECT_EQ(stats.known_count, 1u);
  EXPECT_EQ(stats.hit_count, 1u);
  EXPECT_EQ(stats.miss_count, 1u);
  EXPECT_EQ(stats.payload_bytes, 8192u);
  EXPECT_EQ(stats.physical_bytes, 16384u);  // header page, two of payload, one with the footer
}

TEST(MemoryStore, AnotherIdentityIsAMissThatSaysWhy) {
  MemoryStore store;
  const TestBlock block(3);
  ASSERT_TRUE(PutBlock(store, block).ok());
  std::vector<std::byte> payload(8192);
  const auto get = [&](const RecordIdentity& identity) {
    const Waiter waiter(1);
    store.Get({{identity, payload}}, kNoDeadline, waiter.done());
    return waiter.Wait()[0];
  };
  RecordIdentity other = block.identity();
  other.tenant = DigestOf("somebody");
  EXPECT_EQ(get(other).message(), "the record is of another tenant");
  std::vector<int32_t> tokens(other.tokens.begin(), other.tokens.end());
  const std::string stored_token = std::to_string(tokens[7]);
  tokens[7] = 50000;
  other = block.identity();
  other.tokens = tokens;
  EXPECT_EQ(get(other).message(),
            "the record is of token " + stored_token + " at position 103, not 50000");
  EXPECT_EQ(get(other).code(), StatusCode::kNotFound);
  payload.resize(8191);
  EXPECT_EQ(get(block.identity()).message(), "the record is of 8192 bytes, not 8191");
  EXPECT_EQ(store.stats().mismatch_count, 4u);
}

TEST(MemoryStore, ADamagedBitIsALossAndThenAMiss) {
  MemoryStore store;
  const TestBlock block(0);
  ASSERT_TRUE(PutBlock(store, block).ok());
  EXPECT_TRUE(store.Corrupt(block.key(), 5000, std::byte{4}));
  EXPECT_EQ(GetBlock(store, block).code(), StatusCode::kDataLoss);
  EXPECT_EQ(GetBlock(store, block).code(), StatusCode::kNotFound);
  EXPECT_TRUE(PutBlock(store, block).ok());
  EXPECT_TRUE(GetBlock(store, block).ok());
  EXPECT_EQ(store.stats().corrupt_count, 1u);
}

TEST(MemoryStore, TheCapHoldsAndPinsStay) {
  MemoryStore store(3 * 16384);
  const std::vector<TestBlock> blocks = [] {
    std::vector<TestBlock> made;
    for (uint64_t i = 0; i < 5; ++i) made.emplace_back(i);
    return made;
  }();
  for (size_t i = 0; i < 3; ++i) ASSERT_TRUE(PutBlock(store, blocks[i]).ok());
  EXPECT_TRUE(store.SetPinned(blocks[0].key(), true));
  EXPECT_TRUE(GetBlock(store, blocks[1]).ok());
  ASSERT_TRUE(PutBlock(store, blocks[3]).ok());
  EXPECT_EQ(LeadingCount(store, {blocks[0].key(), blocks[1].key(), blocks[2].key()}), 2u);
  EXPECT_EQ(store.stats().evicted_count, 1u);
  EXPECT_LE(store.stats().physical_bytes, 3u * 16384);
  EXPECT_EQ(PutBlock(store, TestBlock(9, 3 * 16384)).code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(GetBlock(store, blocks[0]).ok());
}

TEST(MemoryStore, RecordsExpire) {
  int64_t now_unix_ms = 1000;
  MemoryStore store(0, [&] { return now_unix_ms; });
  const TestBlock block(0);
  PutItem item = block.Put();
  item.expires_unix_ms = 2000;
  const Waiter waiter(1);
  store.Put({item}, kNoDeadline, waiter.done());
  EXPECT_TRUE(GetBlock(store, block).ok());
  now_unix_ms = 2000;
  EXPECT_EQ(GetBlock(store, block).code(), StatusCode::kNotFound);
  EXPECT_EQ(store.stats().expired_count, 1u);
}

TEST(MemoryStore, ErasesKeysAndTenants) {
  MemoryStore store;
  const TestBlock a(0, 8192, "a"), b(0, 8192, "b"), c(1, 8192, "b");
  for (const TestBlock* block : {&a, &b, &c}) ASSERT_TRUE(PutBlock(store, *block).ok());
  size_t count = 0;
  const auto counted = [&](const Result<size_t>& erased) { count = erased.value(); };
  store.Erase({b.key(), DigestOf("absent")}, counted);
  EXPECT_EQ(count, 1u);
  store.EraseTenant(a.identity().tenant, counted);
  EXPECT_EQ(count, 1u);
  EXPECT_EQ(GetBlock(store, a).code(), StatusCode::kNotFound);
  EXPECT_TRUE(GetBlock(store, c).ok());
}

TEST(MemoryStore, ItemsAreBoundedByDeadlineAndLimits) {
  MemoryStore store;
  const TestBlock block(0);
  const StoreDeadline past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(PutBlock(store, block, past).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(GetBlock(store, block, past).code(), StatusCode::kDeadlineExceeded);
  PutItem item = block.Put();
  item.section_bytes = {1, 2};
  const Waiter waiter(1);
  store.Put({item}, kNoDeadline, waiter.done());
  EXPECT_EQ(waiter.Wait()[0].message(),
            "the sections of a record have 3 bytes together, its payload has 8192");
}

}  // namespace
}  // namespace kvasir
