// DiskStore: what is put comes back, also after a restart and by either way of reading; the cap
// holds on the device; pins, expiry, erasing and a second process do what the header says.

#include "kvasir/store/disk_store.h"

#include <gtest/gtest.h>

#include <future>
#include <iterator>

#include "kvasir/store/disk_test_util.h"

namespace kvasir {
namespace {

class DiskStoreBackends : public testing::TestWithParam<IoBackend> {};

TEST_P(DiskStoreBackends, GivesBackWhatWasPutAlsoAfterARestart) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  options.backend = GetParam();
  // Payloads of whole pages, with a rest that leaves room for the footer, and with one that does
  // not; one that is smaller than a page.
  std::vector<TestBlock> blocks;
  const size_t sizes[] = {65536, 8192, 8192 + 100, 12288 + 4090, 70, 400000};
  for (uint64_t i = 0; i < std::size(sizes); ++i) blocks.emplace_back(i, sizes[i]);
  {
    const auto store = OpenStore(options);
    ASSERT_NE(store, nullptr);
    for (const TestBlock& block : blocks) {
      EXPECT_EQ(GetBlock(*store, block).code(), StatusCode::kNotFound);
      EXPECT_TRUE(PutBlock(*store, block).ok());
      EXPECT_TRUE(PutBlock(*store, block).ok());
      EXPECT_TRUE(GetBlock(*store, block).ok());
    }
    const StoreStats stats = store->stats();
    EXPECT_EQ(stats.state, StoreState::kReady);
    EXPECT_EQ(stats.stored_count, std::size(sizes));
    EXPECT_EQ(stats.known_count, std::size(sizes));
    EXPECT_EQ(stats.hit_count, std::size(sizes));
    EXPECT_EQ(stats.backend.starts_with(GetParam() == IoBackend::kUring ? "io_uring" : "preadv"),
              true);
  }
  const auto store = OpenStore(options);
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->recovery().scanned_count, 0u);
  for (const TestBlock& block : blocks) EXPECT_TRUE(GetBlock(*store, block).ok());
  std::vector<Digest> keys;
  for (const TestBlock& block : blocks) keys.push_back(block.key());
  keys.push_back(DigestOf("absent"));
  EXPECT_EQ(LeadingCount(*store, keys), blocks.size());
}

TEST_P(DiskStoreBackends, ManyAtOnceAndNotAtPages) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  options.backend = GetParam();
  const auto store = OpenStore(options);
  ASSERT_NE(store, nullptr);
  const std::vector<TestBlock> blocks = TestChain(60);
  std::vector<std::vector<std::byte>> copies;
  std::vector<PutItem> puts;
  for (const TestBlock& block : blocks) {
    // One byte off a page.
    std::vector<std::byte>& copy = copies.emplace_back(block.payload().size() + 1);
    std::copy(block.payload().begin(), block.payload().end(), copy.begin() + 1);
    puts.push_back(block.Put());
    puts.back().payload = std::span(copy).subspan(1);
  }
  const Waiter put(blocks.size());
  store->Put(puts, kNoDeadline, put.done());
  for (const Status& status : put.Wait()) EXPECT_TRUE(status.ok()) << status.message();
  std::vector<std::vector<std::byte>> buffers(blocks.size(), std::vector<std::byte>(65537));
  std::vector<GetItem> gets;
  for (size_t i = 0; i < blocks.size(); ++i) {
    gets.push_back({blocks[i].identity(), std::span(buffers[i]).subspan(1)});
  }
  const Waiter get(blocks.size());
  store->Get(gets, kNoDeadline, get.done());
  for (const Status& status : get.Wait()) EXPECT_TRUE(status.ok()) << status.message();
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(std::equal(buffers[i].begin() + 1, buffers[i].end(), blocks[i].payload().begin()));
    EXPECT_EQ(get.call_counts()[i], 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DiskStoreBackends,
                         testing::Values(IoBackend::kUring, IoBackend::kThreads),
                         [](const auto& info) {
                           return info.param == IoBackend::kUring ? "Uring" : "Threads";
                         });

TEST(DiskStore, BadOptionsAreRefusedByName) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  options.cap_bytes = 1000;
  EXPECT_EQ(DiskStore::Open(options).status().message(),
            "the cap of a disk store is 1000 bytes, at least 4194304 are needed");
  options = TestOptions(directory.path());
  options.segment_bytes = options.cap_bytes;
  EXPECT_EQ(DiskStore::Open(options).status().code(), StatusCode::kInvalidArgument);
  const std::string file = directory.path() + "_file";
  std::ofstream(file) << "x";
  options = TestOptions(file);
  EXPECT_EQ(DiskStore::Open(options).status().message(), file + " is not a directory");
  options = TestOptions("/proc/kvasir");
  EXPECT_FALSE(DiskStore::Open(options).ok());
}

TEST(DiskStore, FilesAreForTheOwnerAlone) {
  const TestDirectory directory;
  const auto store = OpenStore(TestOptions(directory.path()));
  ASSERT_TRUE(PutBlock(*store, TestBlock(0)).ok());
  struct stat info;
  ASSERT_EQ(stat(directory.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST(DiskStore, TheDeviceNeverHoldsMoreThanTheCapAndASegment) {
  const TestDirectory directory;
  const DiskStoreOptions options = TestOptions(directory.path());
  const auto store = OpenStore(options);
  const std::vector<TestBlock> blocks = TestChain(600, 65536);  // 41 MiB into 16
  uint64_t bytes_max = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_TRUE(PutBlock(*store, blocks[i]).ok());
    bytes_max = std::max(bytes_max, directory.PhysicalBytes());
    // The first ten are asked for all the time and stay.
    EXPECT_TRUE(GetBlock(*store, blocks[i % 10]).ok()) << i;
  }
  EXPECT_LE(bytes_max, options.cap_bytes + options.segment_bytes);
  EXPECT_GE(directory.PhysicalBytes(), options.cap_bytes * 3 / 4);
  const StoreStats stats = store->stats();
  EXPECT_GT(stats.evicted_count, 300u);
  EXPECT_LE(stats.physical_bytes, options.cap_bytes);
  EXPECT_GE(stats.physical_bytes + 65536, directory.PhysicalBytes());
  // Moving costs less than a third more.
  EXPECT_LT(stats.written_bytes, 600u * 73728 * 4 / 3);
}

TEST(DiskStore, ASmallerCapHoldsBeforeTheStoreServes) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  {
    const auto store = OpenStore(options);
    for (const TestBlock& block : TestChain(150)) ASSERT_TRUE(PutBlock(*store, block).ok());
  }
  ASSERT_GT(directory.PhysicalBytes(), 8u << 20);
  options.cap_bytes = 4 << 20;
  const auto store = OpenStore(options);
  EXPECT_LE(directory.PhysicalBytes(), options.cap_bytes);
  EXPECT_GT(store->stats().record_count, 20u);
}

TEST(DiskStore, PinnedRecordsOutliveEverythingElse) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  options.cap_bytes = 4 << 20;
  const std::vector<TestBlock> blocks = TestChain(200);
  {
    const auto store = OpenStore(options);
    for (size_t i = 0; i < blocks.size(); ++i) {
      ASSERT_TRUE(PutBlock(*store, blocks[i]).ok()) << i;
      if (i >= 7 && i < 10) {
        EXPECT_TRUE(store->SetPinned(blocks[i].key(), true));
      }
    }
    EXPECT_GT(store->stats().evicted_count, 100u);
    EXPECT_EQ(store->stats().pinned_count, 3u);
  }
  const auto store = OpenStore(options);
  EXPECT_EQ(store->stats().pinned_count, 3u);
  for (size_t i = 7; i < 10; ++i) EXPECT_TRUE(GetBlock(*store, blocks[i]).ok());
  EXPECT_FALSE(store->SetPinned(DigestOf("absent"), true));
}

TEST(DiskStore, WhenAllIsPinnedPutIsRefused) {
  const TestDirectory directory;
  DiskStoreOptions options = TestOptions(directory.path());
  options.cap_bytes = 4 << 20;
  const auto store = OpenStore(options);
  size_t stored_count = 0;
  Status status;
  for (const TestBlock& block : TestChain(100)) {
    PutItem item = block.Put();
    item.pinned = true;
    const Waiter waiter(1);
    store->Put({item}, kNoDeadline, waiter.done());
    status = waiter.Wait()[0];
    if (!status.ok()) break;
    ++stored_count;
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_GT(stored_count, 40u);
  EXPECT_LE(directory.PhysicalBytes(), options.cap_bytes + options.segment_bytes);
}

TEST(DiskStore, RecordsExpire) {
  const TestDirectory directory;
  std::atomic<int64_t> now_unix_ms = 1'700'000'000'000;
  DiskStoreOptions options = TestOptions(directory.path());
  options.clock = [&] { return now_unix_ms.load(); };
  options.ttl_ms = 60'000;
  const TestBlock block(0);
  {
    const auto store = OpenStore(options);
    ASSERT_TRUE(PutBlock(*store, block).ok());
    EXPECT_TRUE(GetBlock(*store, block).ok());
  }
  const auto store = OpenStore(options);
  EXPECT_TRUE(GetBlock(*store, block).ok());
  now_unix_ms += 60'000;
  EXPECT_EQ(LeadingCount(*store, {block.key()}), 0u);
  EXPECT_EQ(GetBlock(*store, block).code(), StatusCode::kNotFound);
  EXPECT_TRUE(Eventually([&] { return store->stats().expired_count == 1; }));
  EXPECT_TRUE(PutBlock(*store, block).ok());
  EXPECT_TRUE(GetBlock(*store, block).ok());
}

TEST(DiskStore, YoungRecordsAreNotEvicted) {
  const TestDirectory directory;
  std::atomic<int64_t> now_unix_ms = 1'700'000'000'000;
  DiskStoreOptions options = TestOptions(directory.path());
  options.cap_bytes = 4 << 20;
  options.clock = [&] { return now_unix_ms.load(); };
  options.lifetime_min_ms = 10'000;
  const auto store = OpenStore(options);
  Status status;
  for (const TestBlock& block : TestChain(100)) {
    status = PutBlock(*store, block);
    if (!status.ok()) break;
  }
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  now_unix_ms += 20'000;
  EXPECT_TRUE(PutBlock(*store, TestBlock(1000)).ok());
}

bool FilesContain(const TestDirectory& directory, std::span<const std::byte> bytes) {
  for (const std::string& path : directory.Segments()) {
    std::ifstream file(path, std::ios::binary);
    const std::string content(std::istreambuf_iterator<char>(file), {});
    if (content.find(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())) !=
        std::string::npos) {
      return true;
    }
  }
  return false;
}

TEST(DiskStore, ErasingATenantLeavesNoReadableBytes) {
  const TestDirectory directory;
  const auto store = OpenStore(TestOptions(directory.path()));
  const std::vector<TestBlock> mine = TestChain(20, 20000, "mine");
  const std::vector<TestBlock> others = TestChain(20, 20000, "others");
  for (size_t i = 0; i < mine.size(); ++i) {
    ASSERT_TRUE(PutBlock(*store, mine[i]).ok());
    ASSERT_TRUE(PutBlock(*store, others[i]).ok());
  }
  // One that was forgotten before must be gone, too.
  store->Erase({mine[3].key()}, {});
  ASSERT_TRUE(FilesContain(directory, mine[7].payload().first(64)));
  std::promise<Result<size_t>> erased;
  store->EraseTenant(mine[0].identity().tenant,
                     [&](const Result<size_t>& count) { erased.set_value(count); });
  const Result<size_t> count = erased.get_future().get();
  ASSERT_TRUE(count.ok()) << count.status().message();
  EXPECT_EQ(*count, 19u);
  for (size_t i = 0; i < mine.size(); ++i) {
    EXPECT_FALSE(FilesContain(directory, mine[i].payload().subspan(5000, 64))) << i;
    EXPECT_FALSE(FilesContain(directory, mine[i].key().bytes)) << i;
    EXPECT_EQ(GetBlock(*store, mine[i]).code(), StatusCode::kNotFound);
    EXPECT_TRUE(GetBlock(*store, others[i]).ok());
  }
}

TEST(DiskStore, ErasedRecordsGiveTheirBytesBackAndStayErased) {
  const TestDirectory directory;
  const std::vector<TestBlock> blocks = TestChain(20);
  {
    const auto store = OpenStore(TestOptions(directory.path()));
    for (const TestBlock& block : blocks) ASSERT_TRUE(PutBlock(*store, block).ok());
    const uint64_t before = store->stats().physical_bytes;
    std::promise<size_t> erased;
    store->Erase({blocks[0].key(), blocks[5].key()},
                 [&](const Result<size_t>& count) { erased.set_value(count.value()); });
    EXPECT_EQ(erased.get_future().get(), 2u);
    // Less what the file system and the index note about it.
    EXPECT_LE(store->stats().physical_bytes + 2 * 73728, before + 16384);
  }
  std::filesystem::remove(directory.path() + "/index");
  const auto store = OpenStore(TestOptions(directory.path()));
  EXPECT_EQ(store->recovery().scanned_count, 18u);
  EXPECT_EQ(GetBlock(*store, blocks[5]).code(), StatusCode::kNotFound);
  EXPECT_TRUE(GetBlock(*store, blocks[6]).ok());
}

TEST(DiskStore, ASecondStoreReadsAndTakesOver) {
  const TestDirectory directory;
  auto first = OpenStore(TestOptions(directory.path()));
  const TestBlock a(0), b(1), c(2);
  ASSERT_TRUE(PutBlock(*first, a).ok());
  const auto second = OpenStore(TestOptions(directory.path()));
  EXPECT_EQ(second->stats().state, StoreState::kReadOnly);
  EXPECT_NE(second->stats().state_reason.find("is in use by process"), std::string::npos);
  EXPECT_TRUE(GetBlock(*second, a).ok());
  EXPECT_EQ(PutBlock(*second, b).code(), StatusCode::kUnavailable);
  ASSERT_TRUE(PutBlock(*first, b).ok());
  EXPECT_TRUE(Eventually([&] { return GetBlock(*second, b).ok(); }));
  first.reset();
  EXPECT_TRUE(Eventually([&] { return second->stats().state == StoreState::kReady; }));
  EXPECT_TRUE(PutBlock(*second, c).ok());
  EXPECT_TRUE(GetBlock(*second, a).ok());
}

TEST(DiskStore, DeadlinesAndCancellationEndItemsOnce) {
  const TestDirectory directory;
  const auto store = OpenStore(TestOptions(directory.path()));
  const std::vector<TestBlock> blocks = TestChain(200);
  const StoreDeadline past = std::chrono::steady_clock::now() - std::chrono::seconds(1);
  EXPECT_EQ(PutBlock(*store, blocks[0], past).code(), StatusCode::kDeadlineExceeded);
  std::vector<PutItem> puts;
  for (const TestBlock& block : blocks) puts.push_back(block.Put());
  const Waiter waiter(puts.size());
  store->Cancel(store->Put(puts, kNoDeadline, waiter.done()));
  const std::vector<Status> statuses = waiter.Wait();
  size_t cancelled_count = 0;
  for (size_t i = 0; i < statuses.size(); ++i) {
    EXPECT_EQ(waiter.call_counts()[i], 1);
    cancelled_count += statuses[i].code() == StatusCode::kCancelled ? 1 : 0;
    EXPECT_EQ(GetBlock(*store, blocks[i]).ok(), statuses[i].ok());
  }
  EXPECT_GT(cancelled_count, 0u);
  ASSERT_TRUE(PutBlock(*store, blocks[0]).ok());
  EXPECT_EQ(GetBlock(*store, blocks[0], past).code(), StatusCode::kDeadlineExceeded);
}

TEST(DiskStore, UseSurvivesARestart) {
  const TestDirectory directory;
  const TestBlock block(0);
  {
    const auto store = OpenStore(TestOptions(directory.path()));
    ASSERT_TRUE(PutBlock(*store, block).ok());
    store->Touch({&block.key(), 1});
    ASSERT_TRUE(GetBlock(*store, block).ok());
    EXPECT_TRUE(store->Flush(kNoDeadline).ok());
  }
  const auto store = OpenStore(TestOptions(directory.path()));
  store->ForEach([&](const RecordInfo& info) {
    EXPECT_EQ(info.use_count, 2u);
    EXPECT_EQ(info.tenant, block.identity().tenant);
    EXPECT_EQ(info.token_count, 32u);
    return true;
  });
  EXPECT_EQ(store->stats().record_count, 1u);
}

}  // namespace
}  // namespace kvasir
