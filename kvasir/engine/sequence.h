// Sequence: one request's life inside the engine: its tokens, the blocks that hold their keys and
// values, and how it ended. Owned by the engine; engine thread only.

#ifndef KVASIR_ENGINE_SEQUENCE_H_
#define KVASIR_ENGINE_SEQUENCE_H_

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/engine/request.h"
#include "kvasir/kv/block_table.h"

namespace kvasir {

class Sequence {
 public:
  // REQUIRES a request that CheckRequest accepts. `sink` and `pool` must outlive the sequence.
  Sequence(RequestId id, Request request, TokenSink& sink, BlockPool& pool);

  RequestId id() const { return id_; }
  const SamplingParams& sampling() const { return sampling_; }

  // Prompt and answer so far; valid until the next TakeToken.
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const TokenId> prompt() const { return tokens().first(prompt_count_); }
  std::span<const TokenId> generated() const { return tokens().subspan(prompt_count_); }

  // The blocks of the tokens computed so far: between two steps blocks().token_count() of them.
  BlockTable& blocks() { return blocks_; }
  const BlockTable& blocks() const { return blocks_; }

  // Tells the sink how much of the prompt is computed, if that is more than it knows, and returns
  // how many tokens more: 0 when a preempted sequence computes again what it has lost.
  size_t ReportPrefill();

  // The next token was sampled: ends the sequence at a stop token, otherwise appends and delivers
  // it, and ends the sequence when the sink has enough or a limit is reached.
  void TakeToken(TokenId token, size_t context_tokens);

  // Marks the sequence as finished; the first reason stays. The sink hears of it from NotifyFinish.
  void Finish(FinishReason reason, Status status = OkStatus());
  bool finished() const { return finish_reason_.has_value(); }
  // Calls the sink's OnFinish, the last use of the sink. REQUIRES finished(), once.
  void NotifyFinish();

 private:
  RequestId id_;
  TokenSink* sink_;
  SamplingParams sampling_;
  std::vector<TokenId> stop_tokens_;
  size_t token_count_max_;  // generated
  std::vector<TokenId> tokens_;
  size_t prompt_count_;
  size_t prefill_reported_count_ = 0;
  BlockTable blocks_;
  std::optional<FinishReason> finish_reason_;
  Status finish_status_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SEQUENCE_H_
