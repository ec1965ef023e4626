#include "kvasir/engine/engine_loop.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kvasir/base/check.h"
#include "kvasir/engine/wait_estimate.h"

namespace kvasir {
namespace {

using Clock = std::chrono::steady_clock;

Status CheckBounds(std::string_view option, size_t value, size_t highest) {
  if (value >= 1 && value <= highest) return OkStatus();
  return InvalidArgument(std::string(option) + " is " + std::to_string(value) +
                         ", allowed is 1 to " + std::to_string(highest));
}

class ThreadedEngineLoop final : public EngineLoop {
 public:
  ThreadedEngineLoop(std::unique_ptr<Engine> engine, const EngineLoopOptions& options)
      : engine_(std::move(engine)),
        options_(options),
        context_tokens_(engine_->context_tokens()),
        store_(engine_->tiers() == nullptr ? nullptr : &engine_->tiers()->store()),
        stats_(engine_->stats()) {
    engine_->SetWaker([this] {
      std::lock_guard lock(mutex_);
      woken_ = true;
      wake_.notify_one();
    });
    thread_ = std::thread([this] { Run(); });
  }

  ~ThreadedEngineLoop() override {
    Stop();
    engine_->SetWaker(nullptr);  // the engine outlives what it would wake
  }

  Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink) override {
    KVASIR_CHECK(sink != nullptr);
    KVASIR_RETURN_IF_ERROR(engine_->Check(request));
    if (!request.arrival) request.arrival = Clock::now();
    std::lock_guard lock(mutex_);
    if (cancel_at_) return Cancelled("the engine is stopping and takes no new requests");
    KVASIR_RETURN_IF_ERROR(CheckQueue(request.prompt.size()));
    const RequestId id = next_id_++;
    inbox_token_count_ += request.prompt.size();
    ++inbox_count_;
    inbox_.submissions.push_back({id, std::move(request), std::move(sink)});
    wake_.notify_one();
    return id;
  }

  void Cancel(RequestId id) override {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    inbox_.cancelled.push_back(id);
    wake_.notify_one();
  }

  bool Post(std::function<void(Engine&)> task) override {
    std::lock_guard lock(mutex_);
    if (stopped_) return false;
    inbox_.tasks.push_back(std::move(task));
    wake_.notify_one();
    return true;
  }

  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats = stats_;
    stats.waiting_count += inbox_count_;
    stats.waiting_token_count += inbox_token_count_;
    stats.unread_token_count += inbox_token_count_;
    return stats;
  }

  std::optional<StoreStats> store_stats() const override {
    if (store_ == nullptr) return std::nullopt;
    return store_->stats();
  }

  double EstimateWaitSeconds() const override {
    std::lock_guard lock(mutex_);
    return WaitSeconds();
  }

  size_t context_tokens() const override { return context_tokens_; }

  size_t Drain(Clock::time_point deadline) override {
    {
      std::lock_guard lock(mutex_);
      cancel_at_ = std::min(deadline, cancel_at_.value_or(deadline));
      wake_.notify_one();
    }
    std::lock_guard lock(join_mutex_);
    KVASIR_CHECK(std::this_thread::get_id() != thread_.get_id());
    if (thread_.joinable()) thread_.join();
    return stop_cancelled_count_;
  }

  bool draining() const override {
    std::lock_guard lock(mutex_);
    return cancel_at_.has_value();
  }

  void Stop() override { Drain(Clock::time_point::min()); }

 private:
  struct Submission {
    RequestId id;
    Request request;
    std::shared_ptr<TokenSink> sink;
  };
  // What other threads have asked for since the last step.
  struct Inbox {
    std::vector<Submission> submissions;
    std::vector<RequestId> cancelled;
    std::vector<std::function<void(Engine&)>> tasks;
    bool empty() const { return submissions.empty() && cancelled.empty() && tasks.empty(); }
  };

  // Stands between the engine and a sink, keeps the sink alive, and forgets the request at its end.
  class Forwarder final : public TokenSink {
   public:
    Forwarder(ThreadedEngineLoop& loop, RequestId id, std::shared_ptr<TokenSink> sink)
        : loop_(loop), id_(id), sink_(std::move(sink)) {}

    bool OnToken(const SampledToken& token) override { return sink_->OnToken(token); }
    void OnPrefillProgress(size_t done, size_t total) override {
      sink_->OnPrefillProgress(done, total);
    }
    void OnPromptLogprobs(size_t position, const TokenLogprobs& logprobs) override {
      sink_->OnPromptLogprobs(position, logprobs);
    }
    void OnPromptRead(const PromptStats& stats) override { sink_->OnPromptRead(stats); }
    void OnFinish(FinishReason reason, const Status& status) override {
      const auto self = loop_.live_.extract(id_);  // lives until the end of this call
      sink_->OnFinish(reason, status);
    }

   private:
    ThreadedEngineLoop& loop_;
    RequestId id_;
    std::shared_ptr<TokenSink> sink_;
  };

  struct Live {
    std::unique_ptr<Forwarder> sink;
    RequestId engine_id = 0;
  };

  // REQUIRES mutex_, like all that touch what it guards.
  Status CheckQueue(size_t prompt_token_count) const {
    const size_t count = stats_.waiting_count + inbox_count_;
    const size_t tokens = stats_.waiting_token_count + inbox_token_count_;
    const bool full = count >= options_.queue_count_max ||
                      (tokens > 0 && tokens + prompt_token_count > options_.queue_tokens_max);
    if (!full) return OkStatus();
    const auto seconds = static_cast<long>(std::ceil(WaitSeconds()));
    return ResourceExhausted("the queue is full with " + std::to_string(count) + " requests of " +
                             std::to_string(tokens) + " tokens, it holds at most " +
                             std::to_string(options_.queue_count_max) + " requests and " +
                             std::to_string(options_.queue_tokens_max) +
                             " tokens: try again in about " + std::to_string(seconds) +
                             (seconds == 1 ? " second" : " seconds"));
  }

  double WaitSeconds() const {
    return wait_estimate_.Seconds(stats_.waiting_count + inbox_count_, stats_);
  }

  // The engine thread.
  void Run() {
    while (Receive()) {
      engine_->Step();
      PublishStats();
    }
  }

  // Waits until there is something to do and takes what came in. False when the loop is over.
  bool Receive() {
    Inbox inbox;
    bool cancel_all = false;
    {
      std::unique_lock lock(mutex_);
      WaitForWork(lock);
      if (cancel_at_ && live_.empty() && inbox_.empty()) {
        stopped_ = true;
        return false;
      }
      inbox = std::exchange(inbox_, {});
      cancel_all = cancel_at_ && *cancel_at_ <= Clock::now();
    }
    StartAll(std::move(inbox.submissions));
    if (cancel_all) CancelAll();
    for (const RequestId id : inbox.cancelled) {
      if (const auto live = live_.find(id); live != live_.end()) {
        engine_->Cancel(live->second.engine_id);
      }
    }
    for (const auto& task : inbox.tasks) task(*engine_);
    return true;
  }

  // Until somebody asks for something, the engine has something to do, or all is to end.
  void WaitForWork(std::unique_lock<std::mutex>& lock) {
    // Looked at before each sleep: cancelling comes with a time of its own.
    const auto is_due = [this] {
      const bool ends =
          cancel_at_ && (live_.empty() || (!all_cancelled_ && *cancel_at_ <= Clock::now()));
      return woken_ || ends || !inbox_.empty();
    };
    while (!is_due()) {
      std::optional<Clock::time_point> next = engine_->NextStep();
      if (cancel_at_ && !all_cancelled_) next = std::min(next.value_or(*cancel_at_), *cancel_at_);
      if (!next) {
        wake_.wait(lock);
      } else if (*next <= Clock::now() ||
                 wake_.wait_until(lock, *next) == std::cv_status::timeout) {
        break;
      }
    }
    woken_ = false;
  }

  void StartAll(std::vector<Submission> submissions) {
    if (submissions.empty()) return;
    size_t token_count = 0;
    for (Submission& submission : submissions) {
      token_count += submission.request.prompt.size();
      Start(std::move(submission));
    }
    // They are counted by the engine from here on.
    const EngineStats stats = engine_->stats();
    std::lock_guard lock(mutex_);
    inbox_token_count_ -= token_count;
    inbox_count_ -= submissions.size();
    stats_ = stats;
  }

  void Start(Submission submission) {
    Live& live = live_[submission.id];
    live.sink = std::make_unique<Forwarder>(*this, submission.id, std::move(submission.sink));
    const Result<RequestId> engine_id = engine_->Submit(std::move(submission.request), *live.sink);
    if (engine_id.ok()) {
      live.engine_id = *engine_id;
    } else {
      live.sink->OnFinish(FinishReason::kError, engine_id.status());
    }
  }

  void CancelAll() {
    if (std::exchange(all_cancelled_, true)) return;
    stop_cancelled_count_ = live_.size();
    for (const auto& [id, live] : live_) engine_->Cancel(live.engine_id);
  }

  void PublishStats() {
    const EngineStats stats = engine_->stats();
    std::lock_guard lock(mutex_);
    stats_ = stats;
    wait_estimate_.Observe(stats_);
  }

  const std::unique_ptr<Engine> engine_;  // after creation touched by the engine thread alone
  const EngineLoopOptions options_;
  const size_t context_tokens_;
  BlockStore* const store_;  // of the engine; null: none

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  Inbox inbox_;
  size_t inbox_count_ = 0;        // submissions that the engine does not count yet
  size_t inbox_token_count_ = 0;  // of their prompts
  RequestId next_id_ = 1;
  EngineStats stats_;  // after the last step
  WaitEstimate wait_estimate_;
  std::optional<Clock::time_point> cancel_at_;  // set: takes nothing new, ends by then
  bool stopped_ = false;                        // the thread takes nothing from the inbox any more
  bool woken_ = false;                          // by the engine's store

  // Of the engine thread.
  std::unordered_map<RequestId, Live> live_;
  bool all_cancelled_ = false;
  size_t stop_cancelled_count_ = 0;  // read after the join

  std::mutex join_mutex_;
  std::thread thread_;  // starts when everything else is there
};

}  // namespace

Result<std::unique_ptr<EngineLoop>> EngineLoop::Create(std::unique_ptr<Engine> engine,
                                                       const EngineLoopOptions& options) {
  KVASIR_RETURN_IF_ERROR(
      CheckBounds("queue_tokens_max", options.queue_tokens_max, size_t{1} << 40));
  KVASIR_RETURN_IF_ERROR(CheckBounds("queue_count_max", options.queue_count_max, 1000000));
  return std::unique_ptr<EngineLoop>(
      std::make_unique<ThreadedEngineLoop>(std::move(engine), options));
}

}  // namespace kvasir
