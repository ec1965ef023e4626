// Batch: what the model is asked to compute in one step, as plain arrays: it knows tokens,
// positions and pages, and nothing of requests. Built by engine/batch_builder; views only, valid
// for the duration of Forward.

#ifndef KVASIR_MODEL_BATCH_H_
#define KVASIR_MODEL_BATCH_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

struct Batch {
  std::span<const TokenId> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows], of each token in its sequence
  std::span<const int32_t>
      qo_indptr;  // [batch + 1]: rows of sequence b are qo_indptr[b] .. qo_indptr[b + 1]
  PagedKv kv;     // with room for the rows of this batch, which Forward appends
  std::span<const int32_t> logit_rows;  // rows whose logits are wanted, rising; may be empty
};

}  // namespace kvasir

#endif  // KVASIR_MODEL_BATCH_H_
