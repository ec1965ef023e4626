// Batch: what the model is asked to compute in one step, as plain arrays: it knows tokens,
// positions and pages, and nothing of requests. Built by engine/batch_builder; views only, valid
// for the duration of Forward.

#ifndef KVASIR_MODEL_BATCH_H_
#define KVASIR_MODEL_BATCH_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/block_select.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

// Long contexts in part (attention/block_select.h): decode rows of sequences with more pages than
// the budget read selected pages in the layers that see everything.
struct BatchBlockSelect {
  BlockSelectOptions options = {};  // budget_blocks 0: all rows read everything
  // The first layers attend to many keys with little weight each, and read everything.
  uint32_t full_layer_count = 2;
  // Of the pool that the pages belong to; not null when there is a budget. From then on every batch
  // that writes to the pool must bring it, so that it hears of the writing.
  BlockSummaries* summaries = nullptr;
  std::span<const uint64_t> page_allocations = {};  // [page_count], see BlockSummaries::Refresh
  // [batch]: not 0 for sequences that write; a prompt is read in full, also where its chunk is one
  // row long. Empty = all that have one row.
  std::span<const uint8_t> is_decode = {};
};

struct Batch {
  std::span<const TokenId> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows], of each token in its sequence
  std::span<const int32_t>
      qo_indptr;  // [batch + 1]: rows of sequence b are qo_indptr[b] .. qo_indptr[b + 1]
  PagedKv kv;     // with room for the rows of this batch, which Forward appends
  std::span<const int32_t> logit_rows;  // rows whose logits are wanted, rising; may be empty
  BatchBlockSelect block_select = {};
};

}  // namespace kvasir

#endif  // KVASIR_MODEL_BATCH_H_
