#include "kvasir/loadgen/load_client.h"

#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

#include "kvasir/base/json.h"
#include "kvasir/loadgen/http_client.h"
#include "kvasir/loadgen/reply_reader.h"

namespace kvasir {

namespace asio = boost::asio;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReplyBytesMax = size_t{64} << 20;

double MsBetween(LoadClient::Clock::time_point start, LoadClient::Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - start).count();
}

// One workload on its way. Lives on the stack of LoadClient::Run, which waits for it.
class LoadRun {
 public:
  using Clock = LoadClient::Clock;

  LoadRun(asio::io_context* io, HttpClient* http, const LoadTarget& target,
          const LoadLimits& limits, const Workload& workload,
          const std::function<void(size_t)>& on_progress)
      : io_(*io),
        http_(*http),
        target_(target),
        limits_(limits),
        workload_(workload),
        on_progress_(on_progress),
        start_(Clock::now()),
        is_scheduled_(!workload.conversations.empty() && workload.conversations.back().due_ms > 0),
        slot_(io_),
        beside_(io_) {}

  asio::awaitable<void> Run() {
    beside_open_ = !workload_.beside.empty();
    if (beside_open_) asio::co_spawn(io_, RunBeside(), asio::detached);
    for (size_t i = 0; i < workload_.conversations.size(); ++i) {
      const auto due =
          start_ +
          std::chrono::duration_cast<Clock::duration>(
              std::chrono::duration<double, std::milli>(workload_.conversations[i].due_ms));
      while (Clock::now() < due || (workload_.concurrency > 0 && open_ >= workload_.concurrency)) {
        slot_.expires_at(Clock::now() < due ? due : Clock::time_point::max());
        co_await slot_.async_wait(kAwait);
      }
      ++open_;
      asio::co_spawn(io_, RunConversation(i), asio::detached);
    }
    while (open_ > 0 || beside_open_) {
      slot_.expires_at(Clock::time_point::max());
      co_await slot_.async_wait(kAwait);
    }
  }

  LoadResult TakeResult(bool stopped) {
    result_.stopped = stopped;
    result_.unfinished_count = sent_count_ - ended_count_;
    result_.unsent_count = workload_.request_count() - sent_count_;
    return std::move(result_);
  }

 private:
  double NowMs() const { return MsBetween(start_, Clock::now()); }

  asio::awaitable<void> RunConversation(size_t index) {
    const Conversation& conversation = workload_.conversations[index];
    const double due_ms = is_scheduled_ ? conversation.due_ms : NowMs();
    co_await Talk(conversation, index, due_ms, /*beside=*/false);
    --open_;
    if (index == 0) {
      first_ended_ = true;
      beside_.cancel();
    }
    slot_.cancel();
  }

  // The long prompts beside the first conversation, each after a further stretch of it alone.
  asio::awaitable<void> RunBeside() {
    for (size_t i = 0; i < workload_.beside.size(); ++i) {
      const size_t awaited = first_chunk_count_ + kBesideAfterChunks;
      while (!first_ended_ && first_chunk_count_ < awaited) {
        beside_.expires_at(Clock::time_point::max());
        co_await beside_.async_wait(kAwait);
      }
      if (first_ended_) break;
      co_await Talk(workload_.beside[i], i, NowMs(), /*beside=*/true);
    }
    beside_open_ = false;
    slot_.cancel();
  }

  asio::awaitable<void> Talk(const Conversation& conversation, size_t index, double due_ms,
                             bool beside) {
    std::vector<ApiMessage> messages;
    if (!conversation.system.empty()) messages.push_back({"system", conversation.system});
    for (size_t turn = 0; turn < conversation.turns.size(); ++turn) {
      RequestRecord record;
      record.conversation = index;
      record.turn = turn;
      record.beside = beside;
      record.due_ms = turn == 0 ? due_ms : NowMs();
      messages.push_back({"user", conversation.turns[turn].text});
      ReplyReader reader;
      co_await Send(messages, conversation.turns[turn].output_tokens, &reader, &record);
      const bool ok = record.ok();
      result_.records.push_back(std::move(record));
      if (!ok) break;  // what would follow an answer that is not there?
      messages.push_back({"assistant", reader.answer()});
    }
  }

  asio::awaitable<void> Send(const std::vector<ApiMessage>& messages, size_t output_tokens,
                             ReplyReader* reader, RequestRecord* record) {
    HttpCall call;
    call.path = ApiPath(target_.style.endpoint);
    call.body = GenerationBody(target_.style, messages, output_tokens);
    HttpSink sink;
    sink.on_head = [reader](const HttpHead& head) {
      reader->OnHead(head.status, head.content_type, head.retry_after);
    };
    const bool is_first = record->conversation == 0 && !record->beside;
    sink.on_body = [this, reader, is_first](std::string_view bytes) {
      const size_t before = reader->chunk_count();
      const bool more = reader->OnBody(bytes, NowMs());
      if (is_first && reader->chunk_count() > before) {
        first_chunk_count_ += reader->chunk_count() - before;
        beside_.cancel();
      }
      return more;
    };
    if (!record->beside) ++sent_count_;
    record->sent_ms = NowMs();
    const Clock::time_point deadline = Clock::now() + limits_.request_timeout;
    const HttpFailure failure = co_await http_.Exchange(std::move(call), deadline, std::move(sink));
    reader->Finish(failure.kind, failure.detail, NowMs(), record);
    if (!record->beside) on_progress_(++ended_count_);
  }

  asio::io_context& io_;
  HttpClient& http_;
  const LoadTarget& target_;
  const LoadLimits& limits_;
  const Workload& workload_;
  const std::function<void(size_t)>& on_progress_;
  const Clock::time_point start_;
  const bool is_scheduled_;
  asio::steady_timer slot_;    // cancelled when a conversation ends
  asio::steady_timer beside_;  // cancelled when the first conversation gets on
  LoadResult result_;
  size_t open_ = 0;  // conversations
  size_t sent_count_ = 0;
  size_t ended_count_ = 0;
  size_t first_chunk_count_ = 0;
  bool first_ended_ = false;
  bool beside_open_ = false;
};

class AsioLoadClient final : public LoadClient {
 public:
  AsioLoadClient(LoadTarget target, LoadLimits limits)
      : target_(std::move(target)), limits_(limits), stop_(io_) {}

  Status Open(int stop_fd) {
    KVASIR_ASSIGN_OR_RETURN(
        http_, HttpClient::Create(&io_, target_.url, target_.api_key, limits_.connect_timeout));
    // A copy: the descriptor belongs to the caller.
    if (stop_fd >= 0) stop_.assign(dup(stop_fd));
    return OkStatus();
  }

  Status FindModel() override {
    KVASIR_ASSIGN_OR_RETURN(const Reply reply, Call({"GET", "/v1/models", ""}));
    const std::string url = target_.url.Text();
    if (reply.status == 401 || reply.status == 403) {
      return InvalidArgument(url + " refuses the key: " + ErrorMessageOf(reply.body));
    }
    const Result<Json> json = ParseJson(reply.body);
    const bool is_object = reply.status == 200 && json.ok() && json->is_object();
    if (is_object && json->contains("data") && json->at("data").is_array()) {
      if (!target_.style.model.empty()) return OkStatus();
      for (const Json& entry : json->at("data")) {
        if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_string()) continue;
        target_.style.model = entry["id"].get<std::string>();
        return OkStatus();
      }
      return DataLoss(url + " lists no model: name one");
    }
    // A server may lack the list and still take requests.
    if (!target_.style.model.empty()) return OkStatus();
    return DataLoss(url + " is no server of OpenAI's API: GET /v1/models is answered with " +
                    std::to_string(reply.status) + " and no list of models");
  }

  TokenCounter MakeTokenCounter() override {
    // llama-server's members, then vLLM's; Kvasir takes both.
    for (const bool llama : {true, false}) {
      const TokenCounter counter = [this, llama](std::string_view text) {
        return CountTokens(text, llama);
      };
      if (const Result<size_t> count = counter("one two"); count.ok() && *count > 0) {
        return counter;
      }
    }
    return nullptr;
  }

  Status WarmUp(const Conversation& conversation) override {
    Workload workload;
    workload.conversations.push_back(conversation);
    const LoadResult result = Run(workload, [](size_t) {});
    if (result.stopped) return Stopped();
    for (const RequestRecord& record : result.records) {
      if (!record.ok()) {
        return DataLoss(target_.url.Text() + " does not answer a first request: " +
                        record.error_kind + ": " + record.error_detail);
      }
    }
    return OkStatus();
  }

  LoadResult Run(const Workload& workload,
                 const std::function<void(size_t)>& on_progress) override {
    LoadRun run(&io_, http_.get(), target_, limits_, workload, on_progress);
    if (cut_) return run.TakeResult(/*stopped=*/true);
    io_.restart();
    bool finished = false;
    WatchStop();
    asio::co_spawn(io_, run.Run(), [this, &finished](std::exception_ptr) {
      finished = true;
      if (stop_.is_open()) stop_.cancel();
    });
    io_.run_until(limits_.deadline);
    cut_ = !finished;
    return run.TakeResult(cut_);
  }

  const LoadTarget& target() const override { return target_; }

 private:
  struct Reply {
    int status = 0;
    std::string body;
  };

  // Why nothing goes on.
  Status Stopped() const {
    if (Clock::now() < limits_.deadline) return Cancelled("");
    return Status(StatusCode::kDeadlineExceeded,
                  "the time limit came before " + target_.url.Text() + " could be measured");
  }

  void WatchStop() {
    if (!stop_.is_open()) return;
    stop_.async_wait(asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       if (!error) io_.stop();
                     });
  }

  // One exchange, waited for. kIoError when there is no whole reply.
  Result<Reply> Call(HttpCall call) {
    Reply reply;
    HttpSink sink;
    sink.on_head = [&reply](const HttpHead& head) { reply.status = head.status; };
    sink.on_body = [&reply](std::string_view bytes) {
      reply.body += bytes;
      return reply.body.size() < kReplyBytesMax;
    };
    std::optional<HttpFailure> failure;
    if (cut_) return Stopped();
    io_.restart();
    WatchStop();
    const auto deadline = Clock::now() + limits_.request_timeout;
    asio::co_spawn(io_, http_->Exchange(std::move(call), deadline, std::move(sink)),
                   [this, &failure](std::exception_ptr, HttpFailure seen) {
                     failure = std::move(seen);
                     if (stop_.is_open()) stop_.cancel();
                   });
    io_.run_until(limits_.deadline);
    cut_ = !failure;
    if (cut_) return Stopped();
    if (failure->failed()) {
      return IoError(target_.url.Text() + " does not answer: " + failure->detail);
    }
    return reply;
  }

  Result<size_t> CountTokens(std::string_view text, bool llama) {
    Json body = {{llama ? "content" : "prompt", text},
                 {llama ? "add_special" : "add_special_tokens", false}};
    if (!llama) body["model"] = target_.style.model;
    KVASIR_ASSIGN_OR_RETURN(const Reply reply, Call({"POST", "/tokenize", DumpJson(body)}));
    const Result<Json> json = ParseJson(reply.body);
    if (reply.status != 200 || !json.ok() || !json->is_object() || !json->contains("tokens") ||
        !json->at("tokens").is_array()) {
      return DataLoss(target_.url.Text() + "/tokenize gives no tokens");
    }
    return json->at("tokens").size();
  }

  LoadTarget target_;
  const LoadLimits limits_;
  asio::io_context io_{1};
  asio::posix::stream_descriptor stop_;
  std::unique_ptr<HttpClient> http_;
  // Coroutines of a run that was stopped still wait in io_, for objects that are gone: they are
  // destroyed with it, and nothing may run again.
  bool cut_ = false;
};

}  // namespace

Result<std::unique_ptr<LoadClient>> LoadClient::Create(LoadTarget target, LoadLimits limits,
                                                       int stop_fd) {
  auto client = std::make_unique<AsioLoadClient>(std::move(target), limits);
  KVASIR_RETURN_IF_ERROR(client->Open(stop_fd));
  return std::unique_ptr<LoadClient>(std::move(client));
}

}  // namespace kvasir
