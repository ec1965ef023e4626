// Between kv and model, which do not know each other: the open blocks of a pool as the OpenKv of a
// batch. A pure function; the view is valid as long as the pool and until `own` changes.

#ifndef KVASIR_ENGINE_OPEN_KV_H_
#define KVASIR_ENGINE_OPEN_KV_H_

#include <optional>

#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/open_blocks.h"
#include "kvasir/model/batch.h"

namespace kvasir {

// Absent when the pool's blocks are not quantised.
inline std::optional<OpenKv> OpenKvOf(const BlockPool& pool, const OwnBlocks& own) {
  if (!pool.layout().quantized()) return std::nullopt;
  const OpenBlocks& open = pool.open_blocks();
  return OpenKv{.layout = open.layout(),
                .open_base = open.base(),
                .staging_base = open.staging_base(),
                .own_indptr = own.indptr(),
                .own_slots = own.slots(),
                .first_own_block = own.first_blocks()};
}

}  // namespace kvasir

#endif  // KVASIR_ENGINE_OPEN_KV_H_
