// Seal: encodes the blocks that a batch completes into their pages, from their open or staging
// slots (OpenKv), once. Together with AppendPagedKv, which writes the slots, it keeps the promise
// that a page is either not written or complete. Free functions; the pool's owner calls them.

#ifndef KVASIR_ATTENTION_SEAL_H_
#define KVASIR_ATTENTION_SEAL_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// Encodes layer `layer` of every block that has its 32nd token with this batch, whose queries
// qo_indptr counts. Behind AppendPagedKv of the layer, before attention reads it. Nothing to do for
// a layout that is not quantised. REQUIRES kv.open for one that is.
void SealPagedKv(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr,
                 ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_SEAL_H_
