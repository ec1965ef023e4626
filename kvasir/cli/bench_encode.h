// What encoding keys and values takes, apart from everything else that a model does: for the share
// that it has of reading a prompt and of writing a token. One thread, which owns the pool.

#ifndef KVASIR_CLI_BENCH_ENCODE_H_
#define KVASIR_CLI_BENCH_ENCODE_H_

#include <cstddef>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

// Seconds a token, of all layers. Both are 0 where nothing is encoded.
struct KvEncodeSeconds {
  double prompt_token = 0;
  // Of one sequence: a block at a time, once in 32 tokens, of which this is the mean. More
  // sequences take no longer for each.
  double decode_token = 0;
};

// Encodes blocks of normally distributed numbers into `layout`, as SealPagedKv does it for chunks
// of `chunk_tokens` and for single tokens, some times over; medians. kResourceExhausted when there
// is no memory for them.
Result<KvEncodeSeconds> MeasureKvEncoding(const KvBlockLayout& layout, size_t chunk_tokens,
                                          ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_CLI_BENCH_ENCODE_H_
