#include "kvasir/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

Sequence::Sequence(RequestId id, Request request, TokenSink& sink, BlockPool& pool)
    : id_(id),
      sink_(&sink),
      sampling_(request.sampling),
      stop_tokens_(std::move(request.stop_tokens)),
      token_count_max_(request.token_count_max),
      tokens_(std::move(request.prompt)),
      prompt_count_(tokens_.size()),
      blocks_(pool) {}

size_t Sequence::ReportPrefill() {
  const size_t done = std::min(blocks_.token_count(), prompt_count_);
  if (done <= prefill_reported_count_) return 0;
  const size_t added = done - prefill_reported_count_;
  prefill_reported_count_ = done;
  sink_->OnPrefillProgress(done, prompt_count_);
  return added;
}

void Sequence::TakeToken(TokenId token, size_t context_tokens) {
  KVASIR_CHECK(!finished());
  if (std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end()) {
    return Finish(FinishReason::kStop);
  }
  tokens_.push_back(token);
  if (!sink_->OnToken({.id = token})) return Finish(FinishReason::kStop);
  if (generated().size() >= token_count_max_ || tokens_.size() >= context_tokens) {
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
