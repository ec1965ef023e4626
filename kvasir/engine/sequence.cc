#include "kvasir/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/engine/logprobs.h"

namespace kvasir {
namespace {

double Seconds(Sequence::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Sequence::Sequence(RequestId id, Request request, TokenSink& sink, BlockPool& pool)
    : id_(id),
      sink_(&sink),
      request_(std::move(request)),
      tokens_(std::move(request_.prompt)),
      prompt_count_(tokens_.size()),
      arrival_(request_.arrival.value_or(Clock::now())),
      blocks_(pool) {
  prompt_stats_.token_count = prompt_count_;
}

void Sequence::Admit(Clock::time_point now) {
  if (admission_) return;
  admission_ = now;
  prompt_stats_.queue_seconds = Seconds(now - arrival_);
}

size_t Sequence::ReportPrefill(bool cached, size_t loaded_count) {
  const size_t done = std::min(blocks_.token_count(), prompt_count_);
  if (done <= prefill_reported_count_) return 0;
  const size_t added = done - prefill_reported_count_;
  prefill_reported_count_ = done;
  if (cached) prompt_stats_.cached_token_count += added;
  prompt_stats_.loaded_token_count += std::min(added, loaded_count);
  sink_->OnPrefillProgress(done, prompt_count_);
  return added;
}

void Sequence::TakePromptLogits(size_t position, std::span<const float> logits) {
  if (position + 1 != prompt_logprobs_count_ || !wants_all_logits()) return;
  const TokenLogprobs logprobs =
      LogprobsOf(logits, tokens_[position + 1], request_.top_logprob_count);
  sink_->OnPromptLogprobs(prompt_logprobs_count_++, logprobs);
}

void Sequence::TakeToken(const SampledToken& token, size_t context_tokens, Clock::time_point now) {
  KVASIR_CHECK(!finished());
  if (!prompt_read_) {
    prompt_read_ = true;
    if (admission_) prompt_stats_.read_seconds = Seconds(now - *admission_);
    sink_->OnPromptRead(prompt_stats_);
  }
  const std::vector<TokenId>& stops = request_.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token.id) != stops.end()) {
    return Finish(FinishReason::kStop);
  }
  tokens_.push_back(token.id);
  if (!sink_->OnToken(token)) return Finish(FinishReason::kStop);
  if (generated().size() >= request_.token_count_max || tokens_.size() >= context_tokens) {
    Finish(FinishReason::kLength);
  }
}

void Sequence::Finish(FinishReason reason, Status status) {
  if (finished()) return;
  finish_reason_ = reason;
  finish_status_ = std::move(status);
}

void Sequence::NotifyFinish() {
  KVASIR_CHECK(finished());
  sink_->OnFinish(*finish_reason_, finish_status_);
}

}  // namespace kvasir
