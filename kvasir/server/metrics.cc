#include "kvasir/server/metrics.h"

#include <cstdio>

#include "kvasir/formats/kv_codec.h"

namespace kvasir {

namespace {

std::string Number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.9g", value);
  return buffer;
}

// Writes families in the text format 0.0.4: HELP, TYPE, samples.
class PageWriter {
 public:
  void Begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = "kvasir_" + std::string(name);
    page_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " +
             std::string(type) + "\n";
  }
  void Sample(std::string_view labels, double value) { Line(name_, labels, value); }
  void Gauge(std::string_view name, std::string_view help, double value) {
    Begin(name, "gauge", help);
    Sample("", value);
  }
  void Counter(std::string_view name, std::string_view help, double value) {
    Begin(name, "counter", help);
    Sample("", value);
  }
  void Histograms(std::string_view name, std::string_view help, const Histogram& histogram) {
    Begin(name, "histogram", help);
    double below = 0;
    for (size_t i = 0; i < histogram.upper_bounds().size(); ++i) {
      below += static_cast<double>(histogram.bucket_counts()[i]);
      Line(name_ + "_bucket", "le=\"" + Number(histogram.upper_bounds()[i]) + "\"", below);
    }
    Line(name_ + "_bucket", "le=\"+Inf\"", static_cast<double>(histogram.count()));
    Line(name_ + "_sum", "", histogram.sum());
    Line(name_ + "_count", "", static_cast<double>(histogram.count()));
  }
  std::string Take() { return std::move(page_); }

 private:
  void Line(const std::string& name, std::string_view labels, double value) {
    page_ += name;
    if (!labels.empty()) page_ += "{" + std::string(labels) + "}";
    page_ += " " + Number(value) + "\n";
  }

  std::string name_;
  std::string page_;
};

void WriteEngine(const EngineStats& engine, PageWriter* page) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  page->Gauge("requests_running", "Requests in the batch.", number(engine.running_count));
  page->Gauge("requests_waiting", "Requests in the queue.", number(engine.waiting_count));
  page->Gauge("waiting_prompt_tokens", "Prompt tokens in the queue.",
              number(engine.waiting_token_count));
  page->Gauge("unread_prompt_tokens", "Prompt tokens still to be read.",
              number(engine.unread_token_count));
  page->Begin("kv_blocks", "gauge", "Blocks of keys and values, by state.");
  page->Sample("state=\"used\"", number(engine.used_block_count));
  page->Sample("state=\"cached\"", number(engine.cached_block_count));
  page->Sample("state=\"free\"", number(engine.free_block_count));
  page->Gauge("kv_pinned_blocks", "Blocks that are never evicted.",
              number(engine.pinned_block_count));
  page->Gauge("kv_bytes", "Memory of keys and values.", number(engine.kv_bytes));
  page->Begin("kv_format", "gauge", "1 for the format of keys and values in force.");
  page->Sample("format=\"" + engine.kv_format + "\",rotation=\"" +
                   std::string(engine.kv_rotated ? kKvRotationName : "none") + "\"",
               1);
  page->Gauge("kv_bits_per_element", "Bits of a key or value, with scales and padding.",
              engine.kv_bits_per_element);
  page->Counter("engine_steps_total", "Forward passes.", number(engine.step_count));
  page->Counter("prompt_tokens_computed_total", "Prompt tokens computed.",
                number(engine.prompt_token_count));
  page->Counter("prompt_tokens_cached_total", "Prompt tokens found in the cache instead.",
                number(engine.cached_token_count));
  page->Counter("generated_tokens_total", "Tokens generated.",
                number(engine.generated_token_count));
  page->Counter("preemptions_total", "Sequences that gave up their blocks for others.",
                number(engine.preemption_count));
  page->Counter("kv_evicted_blocks_total", "Cached blocks that gave way to others.",
                number(engine.evicted_block_count));
  page->Histograms("engine_step_seconds", "Time of a forward pass.", engine.step_seconds);
  page->Histograms("batch_rows", "Rows of a forward pass.", engine.batch_rows);
  page->Histograms("batch_sequences", "Sequences of a forward pass.", engine.batch_sequences);
}

}  // namespace

void ServerMetrics::CountResponse(std::string_view route, int status) {
  std::lock_guard lock(mutex_);
  ++responses_[{std::string(route), status}];
}

void ServerMetrics::ObserveGeneration(const GenerationSummary& summary, double total_seconds) {
  std::lock_guard lock(mutex_);
  ++finished_[summary.finish_reason];
  if (summary.first_token_seconds <= 0) return;
  first_token_seconds_.Observe(summary.first_token_seconds);
  total_seconds_.Observe(total_seconds);
  queue_seconds_.Observe(summary.queue_seconds);
  prompt_tokens_.Observe(static_cast<double>(summary.prompt_tokens));
  cached_tokens_.Observe(static_cast<double>(summary.cached_tokens));
  completion_tokens_.Observe(static_cast<double>(summary.completion_tokens));
}

void ServerMetrics::ObserveTokenGap(double seconds) {
  std::lock_guard lock(mutex_);
  token_gap_seconds_.Observe(seconds);
}

void ServerMetrics::CountRefusal(std::string_view reason) {
  std::lock_guard lock(mutex_);
  ++refusals_[std::string(reason)];
}

void ServerMetrics::CountUnknownMember() {
  std::lock_guard lock(mutex_);
  ++unknown_member_count_;
}

std::string ServerMetrics::Render(const EngineStats* engine, size_t connection_count,
                                  double uptime_seconds, std::string_view version) const {
  PageWriter page;
  page.Begin("build_info", "gauge", "The version that runs.");
  page.Sample("version=\"" + std::string(version) + "\"", 1);
  page.Gauge("uptime_seconds", "Since the server started.", uptime_seconds);
  page.Gauge("connections", "Open connections.", static_cast<double>(connection_count));
  {
    std::lock_guard lock(mutex_);
    page.Begin("http_responses_total", "counter", "Answers by route and status.");
    for (const auto& [key, count] : responses_) {
      page.Sample("route=\"" + key.first + "\",status=\"" + std::to_string(key.second) + "\"",
                  static_cast<double>(count));
    }
    page.Begin("requests_refused_total", "counter", "Requests refused for want of room.");
    for (const auto& [reason, count] : refusals_) {
      page.Sample("reason=\"" + reason + "\"", static_cast<double>(count));
    }
    page.Begin("requests_finished_total", "counter", "Generations by how they ended.");
    for (const auto& [reason, count] : finished_) {
      page.Sample("reason=\"" + reason + "\"", static_cast<double>(count));
    }
    page.Counter("unknown_members_total", "Members of requests that were ignored.",
                 static_cast<double>(unknown_member_count_));
    page.Histograms("time_to_first_token_seconds", "From arrival to the first token.",
                    first_token_seconds_);
    page.Histograms("inter_token_latency_seconds", "From one token to the next.",
                    token_gap_seconds_);
    page.Histograms("request_seconds", "From arrival to the end of the answer.", total_seconds_);
    page.Histograms("queue_seconds", "From arrival until let into the batch.", queue_seconds_);
    page.Histograms("request_prompt_tokens", "Prompt tokens of a request.", prompt_tokens_);
    page.Histograms("request_cached_tokens", "Of these, found in the cache.", cached_tokens_);
    page.Histograms("request_completion_tokens", "Tokens of an answer.", completion_tokens_);
  }
  if (engine != nullptr) WriteEngine(*engine, &page);
  return page.Take();
}

}  // namespace kvasir
