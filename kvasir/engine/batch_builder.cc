#include "kvasir/engine/batch_builder.h"

#include "kvasir/base/check.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/open_kv.h"

namespace kvasir {

BatchBuilder::BatchBuilder(const BlockPool& pool, size_t row_count_max, size_t sequence_count_max)
    : pool_(pool) {
  tokens_.reserve(row_count_max);
  positions_.reserve(row_count_max);
  qo_indptr_.reserve(sequence_count_max + 1);
  kv_indptr_.reserve(sequence_count_max + 1);
  // Shared blocks are listed by each sequence, so there can be more; few batches share so much.
  kv_indices_.reserve(pool.block_count());
  kv_last_page_len_.reserve(sequence_count_max);
  logit_rows_.reserve(sequence_count_max + kPromptLogitRowsMax);
  is_decode_.reserve(sequence_count_max);
  Start();
}

void BatchBuilder::Start() {
  tokens_.clear();
  positions_.clear();
  qo_indptr_.assign(1, 0);
  kv_indptr_.assign(1, 0);
  kv_indices_.clear();
  kv_last_page_len_.clear();
  own_blocks_.Clear();
  logit_rows_.clear();
  is_decode_.clear();
}

void BatchBuilder::Add(const Sequence& sequence, size_t token_count) {
  const BlockTable& blocks = sequence.blocks();
  const size_t end = blocks.token_count();
  KVASIR_CHECK(token_count >= 1 && token_count <= end && end <= sequence.tokens().size());
  const size_t first = end - token_count;

  const auto tokens = sequence.tokens().subspan(first, token_count);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  for (size_t position = first; position < end; ++position) {
    positions_.push_back(static_cast<int32_t>(position));
  }
  qo_indptr_.push_back(static_cast<int32_t>(tokens_.size()));

  kv_indices_.insert(kv_indices_.end(), blocks.blocks().begin(), blocks.blocks().end());
  kv_indptr_.push_back(static_cast<int32_t>(kv_indices_.size()));
  kv_last_page_len_.push_back(static_cast<int32_t>(blocks.last_block_token_count()));
  own_blocks_.Add(blocks, token_count);

  const size_t prompt_count = sequence.tokens().size() - sequence.generated().size();
  is_decode_.push_back(token_count == 1 && first >= prompt_count);
  for (size_t left = LogitRowCount(sequence, token_count); left > 0; --left) {
    logit_rows_.push_back(static_cast<int32_t>(tokens_.size() - left));
  }
}

size_t BatchBuilder::LogitRowCount(const Sequence& sequence, size_t token_count) {
  if (sequence.wants_all_logits()) return token_count;
  return sequence.blocks().token_count() == sequence.tokens().size() ? 1 : 0;
}

Batch BatchBuilder::batch() const {
  Batch batch{.tokens = tokens_,
              .positions = positions_,
              .qo_indptr = qo_indptr_,
              .kv = {.layout = pool_.layout(),
                     .base = pool_.base(),
                     .page_count = pool_.block_count(),
                     .kv_indptr = kv_indptr_,
                     .kv_indices = kv_indices_,
                     .kv_last_page_len = kv_last_page_len_,
                     .open = OpenKvOf(pool_, own_blocks_)},
              .logit_rows = logit_rows_,
              .block_select = block_select_};
  batch.block_select.is_decode = is_decode_;
  return batch;
}

}  // namespace kvasir
