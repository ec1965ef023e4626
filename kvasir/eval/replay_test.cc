#include "kvasir/eval/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>

#include "kvasir/eval/replay_report.h"

namespace kvasir {
namespace {

using Chains = std::vector<std::vector<uint64_t>>;

size_t Hits(const Chains& chains, CachePolicy policy, size_t capacity) {
  return ReplayCache(MakeReplayTrace(chains), policy, capacity).hit_blocks;
}

TEST(MakeReplayTraceTest, NumbersInOrderOfAppearance) {
  const ReplayTrace trace = MakeReplayTrace(Chains{{70, 9}, {}, {70, 8}});
  EXPECT_EQ(trace.blocks, (std::vector<uint32_t>{0, 1, 0, 2}));
  EXPECT_EQ(trace.request_sizes, (std::vector<size_t>{2, 0, 2}));
  EXPECT_EQ(trace.block_count, 3u);
  EXPECT_EQ(UnboundedHitBlocks(trace), 1u);
}

// What follows a block that is missing is not found, though it is there.
TEST(ReplayTest, CountsWhatIsFoundFromTheStart) {
  const Chains chains = {{1}, {2}, {3, 2}, {2, 3}};
  // With room for two: 1, then 1 2, then 3 comes and 1 goes: 2 3. The third request begins with
  // the unknown 3, so that its 2 does not count; the fourth finds both.
  EXPECT_EQ(Hits(chains, CachePolicy::kFifo, 2), 2u);
  EXPECT_EQ(Hits(chains, CachePolicy::kLru, 2), 2u);
}

// Worked by hand on single blocks, with room for two (three for LFU): the text of each test says
// what the cache holds after each request, the newest on the left.
TEST(ReplayTest, FifoForgetsTheOldestThoughItIsUsed) {
  // 1 | 2 1 | hit, 2 1 | 3 2 | miss: 1 3
  EXPECT_EQ(Hits({{1}, {2}, {1}, {3}, {1}}, CachePolicy::kFifo, 2), 1u);
}
TEST(ReplayTest, LruKeepsWhatIsUsed) {
  // 1 | 2 1 | hit, 1 2 | 3 1 | hit
  EXPECT_EQ(Hits({{1}, {2}, {1}, {3}, {1}}, CachePolicy::kLru, 2), 2u);
}
TEST(ReplayTest, LfuKeepsWhatIsUsedMost) {
  // 1 twice, 2 once, 3 once: 4 takes the place of 2, 5 that of 3, and 1 is found again.
  EXPECT_EQ(Hits({{1}, {1}, {2}, {3}, {4}, {5}, {1}}, CachePolicy::kLfu, 3), 2u);
  EXPECT_EQ(Hits({{1}, {1}, {2}, {3}, {4}, {5}, {2}}, CachePolicy::kLfu, 3), 1u);
}
TEST(ReplayTest, TwoQueuesRememberWhatIsGone) {
  // Room for four: one new block at least stays. 1 to 5 are new, 1 is gone but remembered; it
  // comes again and is of the main part now, so that 6, 7, 8 and 9 do not drive it out.
  const Chains chains = {{1}, {2}, {3}, {4}, {5}, {1}, {6}, {7}, {8}, {9}, {1}};
  EXPECT_EQ(Hits(chains, CachePolicy::k2Q, 4), 1u);
  EXPECT_EQ(Hits(chains, CachePolicy::kLru, 4), 0u);
}
TEST(ReplayTest, ArcKeepsWhatWasUsedTwiceFromAScan) {
  const Chains chains = {{1}, {1}, {2}, {2}, {3}, {4}, {5}, {6}, {1}, {2}};
  // 1 and 2 are frequent; recent is only what is left of four places: 3 and 4, then 5 and 6.
  EXPECT_EQ(Hits(chains, CachePolicy::kArc, 4), 4u);
  EXPECT_EQ(Hits(chains, CachePolicy::kLru, 4), 2u);
}
TEST(ReplayTest, S3FifoMovesWhatCameBackToItsMainQueue) {
  // Room for ten, one of them small: 1 is used twice more and moves to main when it leaves the
  // small queue. 2 to 15 pass through; 1 is found at the end.
  Chains chains = {{1}, {1}, {1}};
  for (uint64_t n = 2; n <= 15; ++n) chains.push_back({n});
  chains.push_back({1});
  EXPECT_EQ(Hits(chains, CachePolicy::kS3Fifo, 10), 3u);
  EXPECT_EQ(Hits(chains, CachePolicy::kLru, 10), 2u);
}
TEST(ReplayTest, BeladyKeepsWhatComesSoonest) {
  // His paper's kind of sequence, worked by hand with three places: 7 0 1 2 0 3 0 4 2 3 0 3 2 1 2
  // 0 1 7 0 1 has 9 faults of 20 (Silberschatz, Operating System Concepts).
  Chains chains;
  for (const char c : std::string("70120304230321201701")) chains.push_back({uint64_t(c)});
  EXPECT_GE(Hits(chains, CachePolicy::kBelady, 3), 11u);  // ours may leave a block out
  EXPECT_EQ(Hits(chains, CachePolicy::kLru, 3), 8u);      // 12 faults, same book
  EXPECT_EQ(Hits(chains, CachePolicy::kFifo, 3), 5u);     // 15 faults, same book
}

// Traces of several shapes, to see that what was found for one holds for others.
class Shapes {
 public:
  // Users that continue their conversations, or begin new ones behind one of a few common starts.
  Chains Chat(size_t users, size_t requests) {
    Chains chains, open(users);
    for (size_t i = 0; i < requests; ++i) {
      std::vector<uint64_t>& chain = open[random_() % users];
      if (chain.empty() || random_() % 8 == 0) {
        chain.clear();
        for (uint64_t k = 0; k < 4; ++k) chain.push_back(random_() % 4 * 4 + k);
        std::sort(chain.begin(), chain.end());
        chain.erase(std::unique(chain.begin(), chain.end()), chain.end());
        Grow(&chain, 1 + random_() % 20);
      } else {
        Grow(&chain, 1 + random_() % 8);
      }
      chains.push_back(chain);
    }
    return chains;
  }
  // Documents that are asked for by Zipf's law, with a question of one or two blocks behind each.
  Chains Zipf(size_t documents, size_t requests) {
    std::vector<double> weights;
    for (size_t i = 0; i < documents; ++i) weights.push_back(1.0 / double(i + 1));
    std::discrete_distribution<uint64_t> pick(weights.begin(), weights.end());
    Chains chains(requests);
    for (std::vector<uint64_t>& chain : chains) {
      const uint64_t document = pick(random_);
      for (uint64_t k = 0; k < 4 + document % 9; ++k) chain.push_back(document * 100 + k);
      Grow(&chain, 1 + random_() % 2);
    }
    return chains;
  }
  // A few hundred documents in turn, others after a while.
  static Chains Loop(size_t documents, size_t rounds) {
    Chains chains;
    for (size_t i = 0; i < documents * rounds; ++i) {
      chains.emplace_back();
      for (uint64_t k = 0; k < 10; ++k) chains.back().push_back(i % documents * 100 + k);
    }
    return chains;
  }

 private:
  void Grow(std::vector<uint64_t>* chain, size_t count) {
    for (size_t i = 0; i < count; ++i) chain->push_back(next_++);
  }
  std::mt19937 random_{11};
  uint64_t next_ = 1'000'000'000;
};

// Shares of hits, in percent of the blocks: ours, LRU's, the best there can be.
void ExpectOursIsNoWorse(const Chains& chains, size_t capacity) {
  const ReplayTrace trace = MakeReplayTrace(chains);
  const auto percent = [&](CachePolicy policy) {
    return 100.0 * double(ReplayCache(trace, policy, capacity).hit_blocks) /
           double(trace.blocks.size());
  };
  EXPECT_GT(percent(CachePolicy::kAdaptive), percent(CachePolicy::kLru) - 1) << capacity;
  EXPECT_LE(percent(CachePolicy::kAdaptive), percent(CachePolicy::kBelady) + 1e-9) << capacity;
}

TEST(ReplayTest, OursIsNoWorseThanLruInAnyShape) {
  Shapes shapes;
  const Chains chat = shapes.Chat(150, 3000), zipf = shapes.Zipf(1500, 4000);
  for (const size_t capacity : {100, 300, 1000, 3000, 10000}) {
    ExpectOursIsNoWorse(chat, capacity);
    ExpectOursIsNoWorse(zipf, capacity);
    ExpectOursIsNoWorse(Shapes::Loop(150, 15), capacity);
  }
}

TEST(ReplayTest, OursBeatsLruWhereLruIsPoor) {
  const ReplayTrace zipf = MakeReplayTrace(Shapes().Zipf(1500, 4000));
  EXPECT_GT(ReplayCache(zipf, CachePolicy::kAdaptive, 300).hit_blocks,
            ReplayCache(zipf, CachePolicy::kLru, 300).hit_blocks * 5 / 4);
  const ReplayTrace loop = MakeReplayTrace(Shapes::Loop(150, 40));
  EXPECT_EQ(ReplayCache(loop, CachePolicy::kLru, 1000).hit_blocks, 0u);
  EXPECT_GT(ReplayCache(loop, CachePolicy::kAdaptive, 1000).hit_blocks, loop.blocks.size() / 2);
}

TEST(ReplayTest, TiersWriteLessByAdmission) {
  const ReplayTrace trace = MakeReplayTrace(Shapes().Zipf(1500, 12000));
  const auto all = ReplayTiers(trace, 100, 1000, WriteRule::kAll);
  const auto chosen = ReplayTiers(trace, 100, 1000, WriteRule::kAdmission);
  EXPECT_LT(chosen.late_written_blocks * 2, all.late_written_blocks);
  EXPECT_GT(double(chosen.late_hit_blocks),
            double(all.late_hit_blocks) - 0.01 * double(all.late_block_count));
  // Where all fits, each block is written once.
  const auto roomy = ReplayTiers(trace, 100, 100'000, WriteRule::kAdmission);
  EXPECT_EQ(roomy.written_blocks, trace.block_count);
  EXPECT_EQ(roomy.hit_blocks, UnboundedHitBlocks(trace));
  EXPECT_EQ(ReplayLruTiers(trace, 100, 100'000).written_blocks, trace.block_count);
}

TEST(ReplayReportTest, SaysTheSameInThreeForms) {
  ReplayReport report;
  report.trace_name = "a<b>.jsonl";
  report.request_count = 3;
  report.block_count = 200;
  report.different_block_count = 100;
  report.unbounded_hit_blocks = 90;
  report.caches = {{CachePolicy::kLru, 10, 20},
                   {CachePolicy::kLru, 100, 80},
                   {CachePolicy::kAdaptive, 10, 30},
                   {CachePolicy::kAdaptive, 100, 81}};
  report.lru_tiers = {{.ram_blocks = 10, .disk_blocks = 50, .hit_blocks = 50}};
  report.tiers = {{.ram_blocks = 10,
                   .disk_blocks = 50,
                   .rule = WriteRule::kAdmission,
                   .hit_blocks = 60,
                   .written_blocks = 15,
                   .late_block_count = 100,
                   .late_hit_blocks = 40,
                   .late_written_blocks = 5}};
  const std::string text = ReplayMarkdown(report);
  EXPECT_NE(text.find("| lru | 10.00 | 40.00 |\n| ours | 15.00 | 40.50 |\n"), std::string::npos);
  EXPECT_NE(text.find("| 10 | 50 | ours | admission | 30.00 | 7.50 | 40.00 | 5.00 |"),
            std::string::npos)
      << text;
  const Json json = ReplayJson(report);
  EXPECT_EQ(json["caches"][3]["hit_share"], 0.405);
  EXPECT_EQ(json["tiers"][1]["writes"], "admission");
  EXPECT_EQ(json["tiers"][1]["written_share"], 0.075);
  const std::string svg = ReplaySvg(report);
  EXPECT_NE(svg.find("a&lt;b&gt;.jsonl"), std::string::npos);
  EXPECT_NE(svg.find(">ours</text>"), std::string::npos);
}

}  // namespace
}  // namespace kvasir
