// Append: writes new keys and values into their pages, in the layout and format of the block.

#ifndef KVASIR_ATTENTION_APPEND_H_
#define KVASIR_ATTENTION_APPEND_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// Writes k and v [rows, num_kv_heads * head_dim] of layer `layer`: row qo_indptr[b] + i is token
// kv.KvLen(b) - q_len(b) + i of sequence b. bf16 rounds to nearest even. Pages must be writable and
// not shared.
void AppendPagedKv(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr,
                   MatrixView<const float> k, MatrixView<const float> v, ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_APPEND_H_
