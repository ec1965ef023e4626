// Sequence: one request's life inside the engine: its tokens, the blocks that hold their keys and
// values, what its sink was told, and how it ended. Owned by the engine; engine thread only.

#ifndef KVASIR_ENGINE_SEQUENCE_H_
#define KVASIR_ENGINE_SEQUENCE_H_

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/engine/request.h"
#include "kvasir/kv/block_key.h"
#include "kvasir/kv/block_loader.h"
#include "kvasir/kv/block_table.h"

namespace kvasir {

class Sequence {
 public:
  using Clock = std::chrono::steady_clock;

  // REQUIRES a request that CheckRequest accepts. `sink` and `pool` must outlive the sequence.
  Sequence(RequestId id, Request request, TokenSink& sink, BlockPool& pool);

  RequestId id() const { return id_; }
  // As it came, without its prompt.
  const Request& request() const { return request_; }

  // Prompt and answer so far; valid until the next TakeToken.
  std::span<const TokenId> tokens() const { return tokens_; }
  std::span<const TokenId> prompt() const { return tokens().first(prompt_count_); }
  std::span<const TokenId> generated() const { return tokens().subspan(prompt_count_); }

  // The blocks of the tokens computed so far: between two steps blocks().token_count() of them.
  BlockTable& blocks() { return blocks_; }
  const BlockTable& blocks() const { return blocks_; }

  // What PrefixSharing remembers of the sequence.
  struct Sharing {
    std::vector<BlockKey> keys =
        {};  // [tokens / 32], of its complete blocks; empty: shares nothing
    size_t indexed_count =
        0;                  // leading blocks of the table that the index knows as these very ones
    bool orphaned = false;  // its blocks cannot be published any more
    // What it waits for, kNoLoad: nothing; and whether it has asked since it was let in.
    LoadId load = kNoLoad;
    bool load_joined = false;
    bool load_asked = false;
  };
  Sharing& sharing() { return sharing_; }
  const Sharing& sharing() const { return sharing_; }

  // The sequence was let in, for the first time or again.
  void Admit(Clock::time_point now);

  // Tells the sink how much of the prompt is read, if that is more than it knows, and returns how
  // many tokens more: 0 when a preempted sequence computes again what it has lost. `cached`: they
  // came from the cache, at most `loaded_count` of them from a store.
  size_t ReportPrefill(bool cached, size_t loaded_count = 0);

  // Whether the logits of every row are wanted, because the prompt's logprobs are not complete.
  bool wants_all_logits() const {
    return request_.prompt_logprobs && prompt_logprobs_count_ < prompt_count_;
  }
  // Delivers the logprobs of the prompt's token behind `position`, unless there is none or they
  // were delivered already. `logits` are those of the row at `position`.
  void TakePromptLogits(size_t position, std::span<const float> logits);

  // The next token was sampled: tells the sink that the prompt is read, when this is the first one;
  // ends the sequence at a stop token, otherwise appends and delivers it, and ends the sequence
  // when the sink has enough or a limit is reached.
  void TakeToken(const SampledToken& token, size_t context_tokens, Clock::time_point now);

  // Marks the sequence as finished; the first reason stays. The sink hears of it from NotifyFinish.
  void Finish(FinishReason reason, Status status = OkStatus());
  bool finished() const { return finish_reason_.has_value(); }
  // REQUIRES finished().
  FinishReason finish_reason() const { return *finish_reason_; }
  // Calls the sink's OnFinish, the last use of the sink. REQUIRES finished(), once.
  void NotifyFinish();

 private:
  RequestId id_;
  TokenSink* sink_;
  Request request_;
  std::vector<TokenId> tokens_;
  size_t prompt_count_;
  size_t prefill_reported_count_ = 0;
  size_t prompt_logprobs_count_ = 1;  // of the first tokens; the very first one has none
  bool prompt_read_ = false;
  Clock::time_point arrival_;
  std::optional<Clock::time_point> admission_;
  PromptStats prompt_stats_;
  BlockTable blocks_;
  Sharing sharing_;
  std::optional<FinishReason> finish_reason_;
  Status finish_status_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SEQUENCE_H_
