// Append: writes new keys and values into their pages: into blocks, in the layout and format of the
// block, or into the rows of a library user, of any type and strides. Free functions; the pool's
// owner calls them.

#ifndef KVASIR_ATTENTION_APPEND_H_
#define KVASIR_ATTENTION_APPEND_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// For blocks: writes k and v [rows, num_kv_heads * head_dim] of layer `layer`: row qo_indptr[b] + i
// is token kv.KvLen(b) - q_len(b) + i of sequence b. bf16 rounds to nearest even. Pages must be
// writable and not shared. With a quantised layout the rows go to the slots of kv.open, and
// SealPagedKv encodes what is complete.
void AppendPagedKv(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr,
                   MatrixView<const float> k, MatrixView<const float> v, ThreadPool& pool);

// New numbers for one of the arrays of KvRows: [count, num_kv_heads, dim], of any type; within a
// row they are contiguous.
struct KvNewRows {
  KvRowType type = KvRowType::kF32;
  const std::byte* data = nullptr;  // null: nothing is written to this array
  int64_t token_stride = 0;         // in numbers
  int64_t head_stride = 0;
  uint32_t dim = 0;
};

// For rows: writes new row i as token positions[i] of sequence batch_indices[i], to the nearest
// number of the type, ties to even. Keys with a tail (MLA) come in two parts, k and k_tail, and
// their values are the first. No token may be given twice. kInvalidArgument names the argument and
// its range; then nothing is written.
Status AppendPagedKvRows(const PagedKv& kv, uint32_t num_kv_heads,
                         std::span<const int32_t> batch_indices, std::span<const int32_t> positions,
                         const KvNewRows& k, const KvNewRows& v, const KvNewRows& k_tail,
                         ThreadPool& pool);

// The indices of AppendPagedKvRows for rows append_indptr[b] .. append_indptr[b + 1] as the last
// tokens of sequence b, which has seq_lens[b] tokens with them. kInvalidArgument names an indptr
// that falls or a sequence that is shorter than what is appended.
Status BatchIndicesPositions(std::span<const int32_t> append_indptr,
                             std::span<const int32_t> seq_lens, std::vector<int32_t>* batch_indices,
                             std::vector<int32_t>* positions);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_APPEND_H_
