#include "kvasir/server/metrics.h"

#include <cstdio>

#include "kvasir/formats/kv_codec.h"

namespace kvasir {

namespace {

std::string Written(double value) {
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
      Line(name_ + "_bucket", "le=\"" + Written(histogram.upper_bounds()[i]) + "\"", below);
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
    page_ += " " + Written(value) + "\n";
  }

  std::string name_;
  std::string page_;
};

double Number(uint64_t value) { return static_cast<double>(value); }

// What passes between the pool and the store below it.
void WriteTraffic(const TierStats& tier, PageWriter* page) {
  page->Begin("tier_blocks", "gauge", "Blocks under way between memory and disk.");
  page->Sample("state=\"loading\"", Number(tier.loading_block_count));
  page->Sample("state=\"storing\"", Number(tier.storing_block_count));
  page->Sample("state=\"waiting\"", Number(tier.backlog_block_count));
  page->Begin("tier_suspended", "gauge", "1 while a breaker is open because the disk failed.");
  page->Sample("what=\"loading\"", tier.loading_suspended);
  page->Sample("what=\"storing\"", tier.storing_suspended);
  page->Begin("tier_loads_total", "counter", "Loads by how they began or ended.");
  page->Sample("event=\"begun\"", Number(tier.load_count));
  page->Sample("event=\"declined\"", Number(tier.declined_load_count));
  page->Sample("event=\"refused\"", Number(tier.refused_load_count));
  page->Sample("event=\"given_up\"", Number(tier.given_up_load_count));
  page->Sample("event=\"failed\"", Number(tier.failed_load_count));
  page->Begin("tier_load_blocks_total", "counter", "Blocks asked of the disk, by what came.");
  page->Sample("result=\"loaded\"", Number(tier.loaded_block_count));
  page->Sample("result=\"unknown\"", Number(tier.unknown_block_count));
  page->Sample("result=\"vanished\"", Number(tier.vanished_block_count));
  page->Sample("result=\"corrupt\"", Number(tier.corrupt_block_count));
  page->Begin("tier_store_blocks_total", "counter", "Complete blocks, by what became of them.");
  page->Sample("result=\"stored\"", Number(tier.stored_block_count));
  page->Sample("result=\"unwanted\"", Number(tier.unwanted_block_count));
  page->Sample("result=\"lost\"", Number(tier.lost_block_count));
  page->Sample("result=\"failed\"", Number(tier.failed_store_count));
  page->Counter("tier_loaded_bytes_total", "Bytes of loaded blocks.", Number(tier.loaded_bytes));
  page->Counter("tier_stored_bytes_total", "Bytes of stored blocks.", Number(tier.stored_bytes));
  page->Gauge("tier_saved_seconds", "Of computing, by loading instead: an estimate.",
              tier.saved_seconds);
  page->Gauge("tier_latency_seconds", "Until the first block of a load comes, estimated.",
              tier.latency_seconds);
  page->Gauge("tier_block_seconds", "From one block of a load to the next, estimated.",
              tier.block_seconds);
  page->Histograms("tier_load_seconds", "Of loads that a request waited for.", tier.load_seconds);
  page->Histograms("tier_store_seconds", "Of batches of stored blocks.", tier.store_seconds);
}

void WriteTier(const TierStats& tier, const StoreStats& store, PageWriter* page) {
  WriteTraffic(tier, page);
  page->Begin("disk_state", "gauge", "1 for the state of the store on disk.");
  page->Sample("state=\"" + std::string(StoreStateName(store.state)) + "\"", 1);
  page->Gauge("disk_records", "Blocks on disk.", Number(store.record_count));
  page->Gauge("disk_pinned_records", "Of these, never evicted.", Number(store.pinned_count));
  page->Gauge("disk_bytes", "That they take.", Number(store.physical_bytes));
  page->Gauge("disk_bytes_max", "That they may take.", Number(store.cap_bytes));
  page->Begin("disk_reads_total", "counter", "Blocks asked for, by what was found.");
  page->Sample("result=\"hit\"", Number(store.hit_count));
  page->Sample("result=\"miss\"", Number(store.miss_count));
  page->Sample("result=\"mismatch\"", Number(store.mismatch_count));
  page->Sample("result=\"corrupt\"", Number(store.corrupt_count));
  page->Sample("result=\"failed\"", Number(store.get_failed_count));
  page->Sample("result=\"abandoned\"", Number(store.get_abandoned_count));
  page->Begin("disk_writes_total", "counter", "Blocks to be written, by what became of them.");
  page->Sample("result=\"stored\"", Number(store.stored_count));
  page->Sample("result=\"known\"", Number(store.known_count));
  page->Sample("result=\"failed\"", Number(store.put_failed_count));
  page->Sample("result=\"abandoned\"", Number(store.put_abandoned_count));
  page->Begin("disk_removed_total", "counter", "Blocks that are not on disk any more, by why.");
  page->Sample("reason=\"evicted\"", Number(store.evicted_count));
  page->Sample("reason=\"expired\"", Number(store.expired_count));
  page->Sample("reason=\"erased\"", Number(store.erased_count));
  page->Counter("disk_read_bytes_total", "Read from the device.", Number(store.read_bytes));
  page->Counter("disk_written_bytes_total", "Written to it.", Number(store.written_bytes));
  page->Counter("disk_errors_total", "Errors of the device.", Number(store.io_error_count));
  page->Histograms("disk_get_seconds", "Of reading a block.", store.get_seconds);
  page->Histograms("disk_put_seconds", "Of writing a block.", store.put_seconds);
}

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
  page->Begin("prompt_tokens_hit_total", "counter", "Of these, by the tier that had them.");
  page->Sample("tier=\"ram\"", number(engine.cached_token_count - engine.loaded_token_count));
  page->Sample("tier=\"disk\"", number(engine.loaded_token_count));
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

std::string ServerMetrics::Render(const EngineStats* engine, const StoreStats* store,
                                  size_t connection_count, double uptime_seconds,
                                  std::string_view version) const {
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
  if (engine != nullptr && store != nullptr) WriteTier(engine->tier, *store, &page);
  return page.Take();
}

}  // namespace kvasir
