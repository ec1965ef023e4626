// BatchBuilder: a step of the scheduler -> the plain arrays of model/batch.h. Owns the arrays and
// reuses them: after construction a step allocates nothing. Engine thread only.

#ifndef KVASIR_ENGINE_BATCH_BUILDER_H_
#define KVASIR_ENGINE_BATCH_BUILDER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvasir/engine/sequence.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/model/batch.h"

namespace kvasir {

class BatchBuilder {
 public:
  // `pool` must outlive the builder. The maxima are what one batch may hold.
  BatchBuilder(const BlockPool& pool, size_t row_count_max, size_t sequence_count_max);

  // Every batch from now on selects blocks so; which sequences may is the builder's to say.
  void SelectBlocks(const BatchBlockSelect& select) { block_select_ = select; }

  // Empties the batch.
  void Start();
  // Adds the last `token_count` tokens of sequence.blocks(), which were made room for (Extend) and
  // are not computed yet, and the rows of logits that they get. REQUIRES token_count >= 1.
  void Add(const Sequence& sequence, size_t token_count);
  // How many of those rows have logits: all when the sequence wants all, otherwise the last one
  // when no token behind it is known.
  static size_t LogitRowCount(const Sequence& sequence, size_t token_count);
  // Views of the arrays, valid until the next Start or Add.
  Batch batch() const;

 private:
  const BlockPool& pool_;
  std::vector<TokenId> tokens_;            // [rows]
  std::vector<int32_t> positions_;         // [rows]
  std::vector<int32_t> qo_indptr_;         // [batch + 1]
  std::vector<int32_t> kv_indptr_;         // [batch + 1]
  std::vector<int32_t> kv_indices_;        // [kv_indptr[batch]]
  std::vector<int32_t> kv_last_page_len_;  // [batch]
  OwnBlocks own_blocks_;                   // of quantised blocks
  std::vector<int32_t> logit_rows_;        // [logit rows]
  std::vector<uint8_t> is_decode_;         // [batch]
  BatchBlockSelect block_select_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_BATCH_BUILDER_H_
