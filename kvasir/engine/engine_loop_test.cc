#include "kvasir/engine/engine_loop.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/engine_test_util.h"
#include "kvasir/engine/fake_model.h"

namespace kvasir {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Hands the end of a request over to the test's thread.
class WaitingSink final : public TokenSink {
 public:
  bool OnToken(const SampledToken& token) override {
    tokens.push_back(token.id);
    if (on_token) on_token();
    return true;
  }
  void OnFinish(FinishReason finish_reason, const Status& finish_status) override {
    reason = finish_reason;
    status = finish_status;
    finished.set_value();
  }
  void Wait() { done.wait(); }

  std::function<void()> on_token;
  // To be read after Wait.
  std::vector<TokenId> tokens;
  FinishReason reason = FinishReason::kError;
  Status status;
  std::promise<void> finished;
  std::future<void> done = finished.get_future();
};

class EngineLoopTest : public testing::Test {
 protected:
  void Start(EngineOptions engine_options = {}, EngineLoopOptions loop_options = {}) {
    auto loop = EngineLoop::Create(MakeEngine(model_, engine_options), loop_options);
    ASSERT_TRUE(loop.ok()) << loop.status().message();
    loop_ = std::move(loop).value();
  }

  void TearDown() override { Release(); }

  // Holds the engine thread inside its second forward pass until Release.
  void Hold() {
    model_.on_forward = [this](const Batch&) {
      if (++forward_count_ < 2) return OkStatus();
      held_.store(true);
      std::unique_lock lock(mutex_);
      released_changed_.wait(lock, [this] { return released_; });
      return OkStatus();
    };
  }
  void WaitUntilHeld() {
    while (!held_.load()) std::this_thread::yield();
  }
  void Release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    released_changed_.notify_all();
  }

  FakeModel model_;
  int forward_count_ = 0;
  std::atomic<bool> held_{false};
  std::mutex mutex_;
  std::condition_variable released_changed_;
  bool released_ = false;
  std::unique_ptr<EngineLoop> loop_;
};

const Request kShort = {.prompt = {4, 5, 6}, .token_count_max = 20};
const Request kEndless = {.prompt = {7, 8}, .token_count_max = 200};

TEST_F(EngineLoopTest, AnswersFromManyThreads) {
  Start({.sequence_count_max = 4, .chunk_tokens = 64});
  const std::vector<Request> requests = MixedRequests(1, 40, 256);
  std::vector<std::thread> clients;
  for (size_t client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      for (size_t i = client; i < requests.size(); i += 4) {
        const auto sink = std::make_shared<WaitingSink>();
        ASSERT_TRUE(loop_->Submit(requests[i], sink).ok());
        sink->Wait();
        EXPECT_EQ(sink->tokens, ReferenceAnswer(requests[i], 256)) << i;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(loop_->Drain(Clock::now() + milliseconds(60000)), 0);
  const EngineStats stats = loop_->stats();
  EXPECT_EQ(stats.finished_counts[size_t(FinishReason::kLength)], 40);
  EXPECT_EQ(stats.waiting_count + stats.running_count, 0);
  EXPECT_EQ(stats.used_block_count, 0);
}

TEST_F(EngineLoopTest, RefusesWhatCheckRefuses) {
  Start();
  const auto sink = std::make_shared<WaitingSink>();
  EXPECT_EQ(loop_->Submit({}, sink).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(sink.use_count(), 1);
  EXPECT_EQ(loop_->context_tokens(), 256);
}

TEST_F(EngineLoopTest, KeepsSinksAliveUntilTheirEnd) {
  Start();
  std::promise<void> gone;
  class Sink final : public TokenSink {
   public:
    explicit Sink(std::promise<void>& gone) : gone_(gone) {}
    ~Sink() override { gone_.set_value(); }
    bool OnToken(const SampledToken&) override { return true; }
    void OnFinish(FinishReason, const Status&) override {}

   private:
    std::promise<void>& gone_;
  };
  ASSERT_TRUE(loop_->Submit(kShort, std::make_shared<Sink>(gone)).ok());
  gone.get_future().wait();
}

TEST_F(EngineLoopTest, CancelsWithinAStep) {
  Start();
  const auto sink = std::make_shared<WaitingSink>();
  std::atomic<RequestId> id{0};
  sink->on_token = [&] {
    while (id.load() == 0) std::this_thread::yield();
    if (sink->tokens.size() == 5) loop_->Cancel(id);
  };
  id = loop_->Submit(kEndless, sink).value();
  sink->Wait();
  EXPECT_EQ(sink->reason, FinishReason::kCancelled);
  EXPECT_EQ(sink->tokens.size(), 5);
  loop_->Cancel(id);    // finished
  loop_->Cancel(9999);  // never was
}

TEST_F(EngineLoopTest, CancelsWhatHasNotReachedTheEngine) {
  Hold();
  Start();
  const auto first = std::make_shared<WaitingSink>(), second = std::make_shared<WaitingSink>();
  ASSERT_TRUE(loop_->Submit(kShort, first).ok());
  WaitUntilHeld();
  const RequestId id = loop_->Submit(kShort, second).value();
  loop_->Cancel(id);
  EXPECT_EQ(loop_->stats().waiting_count, 1);
  Release();
  second->Wait();
  EXPECT_EQ(second->reason, FinishReason::kCancelled);
  EXPECT_TRUE(second->tokens.empty());
  first->Wait();
  EXPECT_EQ(first->tokens, ReferenceAnswer(kShort, 256));
}

TEST_F(EngineLoopTest, SinksMaySubmitAndCancel) {
  Start();
  const auto first = std::make_shared<WaitingSink>(), second = std::make_shared<WaitingSink>();
  RequestId id = 0;
  first->on_token = [&] {
    if (first->tokens.size() == 1) id = loop_->Submit(kEndless, second).value();
    if (first->tokens.size() == 10) loop_->Cancel(id);
  };
  ASSERT_TRUE(loop_->Submit(kShort, first).ok());
  first->Wait();
  second->Wait();
  EXPECT_EQ(second->reason, FinishReason::kCancelled);
}

TEST_F(EngineLoopTest, ABoundedQueueRefusesWithAnEstimate) {
  Hold();
  Start({.sequence_count_max = 1}, {.queue_tokens_max = 250, .queue_count_max = 3});
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  const auto submit = [&](size_t prompt_tokens) {
    sinks.push_back(std::make_shared<WaitingSink>());
    return loop_->Submit({.prompt = std::vector<TokenId>(prompt_tokens, 1), .token_count_max = 2},
                         sinks.back());
  };
  EXPECT_EQ(loop_->EstimateWaitSeconds(), 0);
  ASSERT_TRUE(submit(100).ok());
  WaitUntilHeld();
  ASSERT_TRUE(submit(200).ok());  // nobody waits: always taken
  EXPECT_GT(loop_->EstimateWaitSeconds(), 0);
  const Status too_long = submit(51).status();
  EXPECT_EQ(too_long.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(too_long.message().find("the queue is full with 1 requests of 200 tokens, it holds at "
                                    "most 3 requests and 250 tokens: try again in about "),
            0)
      << too_long.message();
  ASSERT_TRUE(submit(25).ok());
  ASSERT_TRUE(submit(24).ok());
  EXPECT_EQ(submit(1).status().code(), StatusCode::kResourceExhausted) << "three wait";
  EXPECT_EQ(loop_->stats().waiting_count, 3);
  EXPECT_EQ(loop_->stats().waiting_token_count, 249);
  Release();
  for (const size_t taken : {0, 1, 3, 4}) sinks[taken]->Wait();
  EXPECT_EQ(sinks[2].use_count(), 1);
}

TEST_F(EngineLoopTest, PostedTasksRunOnTheEngineThread) {
  Start();
  std::promise<std::thread::id> from_task, from_sink;
  EXPECT_TRUE(loop_->Post([&](Engine& engine) {
    EXPECT_NE(engine.prefix_cache(), nullptr);
    from_task.set_value(std::this_thread::get_id());
  }));
  const auto sink = std::make_shared<WaitingSink>();
  sink->on_token = [&] {
    if (sink->tokens.size() == 1) from_sink.set_value(std::this_thread::get_id());
  };
  ASSERT_TRUE(loop_->Submit(kShort, sink).ok());
  sink->Wait();
  EXPECT_EQ(from_task.get_future().get(), from_sink.get_future().get());
  loop_->Stop();
  EXPECT_FALSE(loop_->Post([](Engine&) { ADD_FAILURE(); }));
}

TEST_F(EngineLoopTest, DrainLetsRequestsEndAndRefusesNewOnes) {
  Hold();
  Start();
  const auto sink = std::make_shared<WaitingSink>();
  ASSERT_TRUE(loop_->Submit(kShort, sink).ok());
  WaitUntilHeld();
  EXPECT_FALSE(loop_->draining());
  std::thread drainer([&] { EXPECT_EQ(loop_->Drain(Clock::now() + milliseconds(60000)), 0); });
  while (!loop_->draining()) std::this_thread::yield();
  EXPECT_EQ(loop_->Submit(kShort, std::make_shared<WaitingSink>()).status().code(),
            StatusCode::kCancelled);
  Release();
  drainer.join();
  EXPECT_EQ(sink->reason, FinishReason::kLength);
  EXPECT_EQ(loop_->Drain(Clock::now()), 0);
}

TEST_F(EngineLoopTest, DrainCancelsAtItsDeadline) {
  Start({.sequence_count_max = 1});
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_shared<WaitingSink>());
    // A reader slow enough that the deadline comes first.
    sinks.back()->on_token = [] { std::this_thread::sleep_for(milliseconds(5)); };
    ASSERT_TRUE(loop_->Submit(kEndless, sinks.back()).ok());
  }
  EXPECT_EQ(loop_->Drain(Clock::now() + milliseconds(50)), 3);
  for (const auto& sink : sinks) EXPECT_EQ(sink->reason, FinishReason::kCancelled);
  EXPECT_EQ(loop_->stats().used_block_count, 0);
}

TEST_F(EngineLoopTest, StopHurriesADrain) {
  Start();
  const auto sink = std::make_shared<WaitingSink>();
  sink->on_token = [] { std::this_thread::sleep_for(milliseconds(5)); };
  ASSERT_TRUE(loop_->Submit(kEndless, sink).ok());
  std::thread drainer([&] { loop_->Drain(Clock::now() + std::chrono::hours(1)); });
  while (!loop_->draining()) std::this_thread::yield();
  loop_->Stop();
  drainer.join();
  EXPECT_EQ(sink->reason, FinishReason::kCancelled);
}

TEST_F(EngineLoopTest, OptionsOutOfBoundsAreNamed) {
  const auto refused = [&](EngineLoopOptions options) {
    return EngineLoop::Create(MakeEngine(model_), options).status().message();
  };
  EXPECT_EQ(refused({.queue_tokens_max = 0}),
            "queue_tokens_max is 0, allowed is 1 to 1099511627776");
  EXPECT_EQ(refused({.queue_count_max = 1000001}),
            "queue_count_max is 1000001, allowed is 1 to 1000000");
}

// Everything at once from several threads: for ThreadSanitizer, and every accepted request ends
// exactly once.
TEST_F(EngineLoopTest, SurvivesARush) {
  Start({.sequence_count_max = 4, .chunk_tokens = 32}, {.queue_count_max = 20});
  const std::vector<Request> requests = MixedRequests(3, 200, 256);
  std::atomic<RequestId> newest{0};
  std::vector<std::thread> clients;
  std::mutex sinks_mutex;
  std::vector<std::shared_ptr<WaitingSink>> sinks;
  for (size_t client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random{uint32_t(client)};
      for (size_t i = client; i < requests.size(); i += 4) {
        const auto sink = std::make_shared<WaitingSink>();
        if (const auto id = loop_->Submit(requests[i], sink); id.ok()) {
          newest = *id;
          std::lock_guard lock(sinks_mutex);
          sinks.push_back(sink);
        }
        if (random() % 4 == 0) loop_->Cancel(random() % (newest.load() + 2));
        if (random() % 8 == 0)
          loop_->Post([](Engine& engine) { engine.prefix_cache()->DropAll(); });
        EXPECT_LE(loop_->stats().running_count, 4);
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
  }
  for (std::thread& client : clients) client.join();
  loop_->Drain(Clock::now() + milliseconds(100));
  for (const auto& sink : sinks) sink->Wait();
  const EngineStats stats = loop_->stats();
  uint64_t ended = 0;
  for (const uint64_t count : stats.finished_counts) ended += count;
  EXPECT_EQ(ended, sinks.size());
  EXPECT_EQ(stats.used_block_count, 0);
}

}  // namespace
}  // namespace kvasir
