// Internal to the attention library: one work item of a plan, executed by the calling thread. The
// code is compiled for each KV format in a file of its own (attend_f32.cc, attend_bf16.cc) and each
// target.

#ifndef KVASIR_ATTENTION_ATTEND_H_
#define KVASIR_ATTENTION_ATTEND_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/attention/state.h"
#include "kvasir/base/matrix_view.h"

namespace kvasir {

// Rows of a work item are (query, head of the group) pairs, row = query * group + head. A tile of
// queries has about this many: each number of K and V that is loaded and widened is used so many
// times (widening costs ~2 operations, so 3 % at 64), and q, scores and outputs of 64 rows of 128
// dims take 130 KiB of second-level cache, which has 512 KiB on the CPUs we look at.
inline constexpr size_t kQueryTileRows = 64;

// Floats from one row of scores to the next: a split, and a cache line more so that the rows of a
// block do not fall on the same few cache sets.
inline constexpr size_t kScoreStride = kKvSplitTokens + 16;

// What all work items of one Run share.
struct AttentionRun {
  const AttentionSpec& spec;
  const PagedKv& kv;
  uint32_t layer;
  std::span<const int32_t> qo_indptr;
  std::span<const AttentionMergeItem> merge_items;
  MatrixView<const float> q;  // [rows, num_qo_heads * head_dim]
  MatrixView<float> out;      // the same shape
  float* partials;            // the states of split rows; merge items say where
  uint32_t* finished;         // [merge_items]: work of each that is done; 0 before and after a Run
};

// The scratch memory of one worker.
struct AttentionScratch {
  float* q;                // row blocks of q * sm_scale, see attend-inl.h
  float* scores;           // [rows, kScoreStride]: logits, then weights of one split
  int32_t* visible_begin;  // [rows]: keys that the row sees, as positions in the sequence
  int32_t* visible_end;    // [rows]
  int32_t* split_begin;    // [rows]: the same within the current split, as offsets in it
  int32_t* split_end;      // [rows]
  float* k_tile;           // 32 tokens of K, widened to f32
  float* v_tile;           // 32 tokens of V, widened to f32, rows padded to a multiple of 16 dims
  float* running;          // states of the rows over the splits so far
  float* current;          // states of the rows over one split

  // Bytes for `row_count` rows of `head_dim`, a multiple of 64; and their division.
  static size_t ByteCount(size_t row_count, size_t head_dim);
  static AttentionScratch At(std::byte* memory, size_t row_count, size_t head_dim);
};

void AttendItemF32(const AttentionRun& run, const AttentionWorkItem& item,
                   const AttentionScratch& scratch);
void AttendItemBF16(const AttentionRun& run, const AttentionWorkItem& item,
                    const AttentionScratch& scratch);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ATTEND_H_
