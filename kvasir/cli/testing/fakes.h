// Fakes for the tests of the command line: a tokenizer with a vocabulary that the test writes down,
// an engine that says what the test tells it to, a model that counts what it is asked. One thread.

#ifndef KVASIR_CLI_TESTING_FAKES_H_
#define KVASIR_CLI_TESTING_FAKES_H_

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/engine/engine.h"
#include "kvasir/model/model.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

// One token for each byte, id = the byte, and the tokens of `extra` from id 256 on, which Decode
// and TokenBytes know and Encode finds when special tokens are parsed. Ids from `first_control` on
// are control tokens.
class FakeTokenizer : public Tokenizer {
 public:
  explicit FakeTokenizer(std::vector<std::string> extra = {}, TokenId first_control = 1 << 20)
      : extra_(std::move(extra)), first_control_(first_control) {
    for (int byte = 0; byte < 256; ++byte)
      bytes_.push_back(std::string(1, static_cast<char>(byte)));
  }

  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options) const override {
    last_encoded = text;
    last_encode_options = options;
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string_view TokenBytes(TokenId id) const override {
    if (id < 0 || static_cast<size_t>(id) >= vocab_size()) return "";
    return id < 256 ? bytes_[static_cast<size_t>(id)] : extra_[static_cast<size_t>(id) - 256];
  }
  std::string Decode(std::span<const TokenId> ids, const DecodeOptions& options) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (!options.skip_special || !IsControl(id)) text += TokenBytes(id);
    }
    return text;
  }
  size_t vocab_size() const override { return 256 + extra_.size(); }
  bool IsControl(TokenId id) const override { return id >= first_control_; }
  TokenId Find(std::string_view token) const override { return kNoToken; }
  TokenId bos() const override { return kNoToken; }
  TokenId eos() const override { return kNoToken; }
  std::span<const TokenId> end_of_generation() const override { return end_; }
  std::string Describe() const override { return "bytes"; }

  mutable std::string last_encoded;
  mutable EncodeOptions last_encode_options;

 private:
  std::vector<std::string> bytes_;
  std::vector<std::string> extra_;
  TokenId first_control_;
  std::vector<TokenId> end_ = {0};
};

// Answers each request with the bytes of `answer`, one token a Step.
class FakeEngine : public Engine {
 public:
  explicit FakeEngine(std::string answer) : answer_(std::move(answer)) {}

  Result<RequestId> Submit(Request request, TokenSink& sink) override {
    if (!submit_status.ok()) return submit_status;
    requests.push_back(std::move(request));
    sink_ = &sink;
    next_ = 0;
    cancelled_ = false;
    sink.OnPrefillProgress(requests.back().prompt.size(), requests.back().prompt.size());
    return RequestId{requests.size()};
  }
  void Cancel(RequestId id) override { cancelled_ = true; }
  bool Step() override {
    if (on_step) on_step();
    if (sink_ == nullptr) return false;
    if (cancelled_) return Finish(FinishReason::kCancelled);
    if (!step_status.ok()) return Finish(FinishReason::kError);
    if (next_ == answer_.size()) return Finish(FinishReason::kStop);
    if (next_ == requests.back().token_count_max) return Finish(FinishReason::kLength);
    const bool more = sink_->OnToken({static_cast<unsigned char>(answer_[next_++])});
    return more ? true : Finish(FinishReason::kStop);
  }
  Status Check(const Request& request) const override { return OkStatus(); }
  EngineStats stats() const override { return {}; }
  std::optional<std::chrono::steady_clock::time_point> NextStep() const override { return {}; }
  void SetWaker(std::function<void()>) override {}
  void Flush(std::chrono::steady_clock::time_point) override {}
  PrefixCache* prefix_cache() override { return nullptr; }
  TierManager* tiers() override { return nullptr; }
  size_t context_tokens() const override { return 1024; }

  Status submit_status;           // what Submit says
  Status step_status;             // what the next request ends with
  std::function<void()> on_step;  // called at each Step
  std::vector<Request> requests;  // in order of arrival

 private:
  bool Finish(FinishReason reason) {
    TokenSink* sink = std::exchange(sink_, nullptr);
    sink->OnFinish(reason, step_status);
    return false;
  }

  std::string answer_;
  TokenSink* sink_ = nullptr;
  size_t next_ = 0;
  bool cancelled_ = false;
};

// Takes every batch that fits together, remembers its shape, and always prefers `favourite`.
class FakeModel : public Model {
 public:
  struct Shape {
    size_t sequences;
    size_t rows;
    size_t logit_rows;
    size_t kv_tokens;  // of all sequences, this batch's included
    auto operator<=>(const Shape&) const = default;
  };

  FakeModel() {
    spec_.layer_count = 1;
    spec_.kv_head_count = spec_.q_head_count = 1;
    spec_.head_dim = 2;
    spec_.vocab_size = 300;
    spec_.context_length = 128;
  }
  const ModelSpec& spec() const override { return spec_; }
  size_t weight_bytes() const override { return 1; }
  size_t ActivationBytes(size_t row_count, size_t) const override { return row_count; }
  size_t row_count_max() const override { return 64; }
  KvBlockLayout KvLayout(KvFormats formats) const override { return {1, 1, 2, formats}; }
  Status Forward(const Batch& batch, MatrixView<float> logits) override {
    size_t kv_tokens = 0;
    for (size_t b = 0; b < batch.kv.batch_size(); ++b) {
      const int32_t length = batch.kv.KvLen(b);
      kv_tokens += static_cast<size_t>(length);
      // The last row of a sequence is its last position.
      const int32_t last = batch.positions[static_cast<size_t>(batch.qo_indptr[b + 1] - 1)];
      if (last + 1 != length) return InvalidArgument("positions and pages do not fit together");
    }
    if (batch.tokens.size() > row_count_max() || logits.rows() != batch.logit_rows.size()) {
      return InvalidArgument("rows do not fit");
    }
    shapes.push_back(
        {batch.kv.batch_size(), batch.tokens.size(), batch.logit_rows.size(), kv_tokens});
    last_tokens.assign(batch.tokens.begin(), batch.tokens.end());
    for (size_t row = 0; row < logits.rows(); ++row) {
      std::fill_n(logits.row(row), logits.cols(), 0.0f);
      logits.row(row)[favourite] = 1;
    }
    return OkStatus();
  }

  TokenId favourite = 7;
  std::vector<Shape> shapes;         // of every Forward
  std::vector<TokenId> last_tokens;  // of the last Forward

 private:
  ModelSpec spec_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_TESTING_FAKES_H_
