// Internal to the attention library: one work item of a plan for one KV head, executed by the
// calling thread. The code is compiled for each kind of KV in a file of its own (attend_f32.cc,
// attend_bf16.cc, attend_rows.cc) and each target.

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

// Rows above which tiles are widened into scratch first (score-inl.h has the exact figure of each
// target); for the planner's costs.
inline constexpr size_t kStreamRowsTypical = 8;

// Floats from one row of scores to the next: a split, and a cache line more so that the rows of a
// block do not fall on the same few cache sets.
inline constexpr size_t kScoreStride = kKvSplitTokens + 16;

// Of quantised KV (code_rows-inl.h): numbers of a row whose codes lie together, as many as a tile
// has tokens, and the largest codes of queries and of weights: 576 dims * 127 * 2^14 and 256 tokens
// * 127
// * 2^15 are below 2^31.
inline constexpr size_t kCodeChunkNumbers = kKvBlockTokens;
inline constexpr float kQueryCodeMax = 16383;
inline constexpr float kWeightCodeMax = 32767;

// Of quantised KV: the key with which the group of blocks begins that a query at `position` lies in
// (KvBlockLayout::open_blocks). It reads what lies before in its encoded form, and nothing else.
inline int32_t OwnBlockBegin(const KvBlockLayout& layout, int32_t position) {
  const auto tokens = int32_t(kKvBlockTokens * layout.open_blocks);
  return position < 0 ? 0 : position / tokens * tokens;
}

// What all work items of one Run share.
struct AttentionRun {
  const AttentionSpec& spec;
  const PagedKv& kv;
  uint32_t layer;
  std::span<const AttentionPlanRow> rows;  // [rows of the batch]
  std::span<const int32_t> row_ids;
  MatrixView<const float> q;  // [rows, num_qo_heads * head_dim]
  MatrixView<float> out;      // [rows, num_qo_heads * v_dim]
  MatrixView<float> lse;      // [rows, num_qo_heads], or empty
  float* partials;            // [slots, num_kv_heads] states of group_size rows

  AttentionStates Partial(int32_t slot, size_t kv_head) const;
};

// The scratch memory of one worker.
struct AttentionScratch {
  float* q;                // row blocks of q * sm_scale, see attend-inl.h
  float* scores;           // [rows, kScoreStride]: logits, then weights of one split
  int32_t* split_begin;    // [rows]: keys that the row sees within the current split, as offsets
  int32_t* split_end;      // [rows]
  const std::byte** keys;  // [kKvSplitTokens]: where the rows of K of the current split lie
  const std::byte** key_tails;
  const std::byte** values;
  float* k_tile;   // 32 tokens of K, widened to f32: [16 tokens of a half][dim]
  float* v_tile;   // 32 tokens of V, widened to f32, rows padded to a multiple of 16 dims
  float* running;  // states of the rows over the splits so far
  float* current;  // states of the rows over one split
  // Of quantised KV:
  int32_t* encoded_begin;  // [rows]: what of split_begin .. split_end the row sees encoded
  int32_t* encoded_end;    // [rows]
  int32_t* own_begin;      // [rows]: and what not
  int32_t* own_end;        // [rows]
  int16_t* q_codes;        // [dims / 32][rows][32]
  float* q_scales;         // [rows]
  int16_t* weight_codes;   // [groups][tiles of a split][rows][32]
  float* weight_scales;    // [groups][rows]
  float* value_scales;     // [groups][kKvSplitTokens]
  float* scale_maxima;     // [groups][tiles of a split]
  float* scaled_q;         // one query before it is packed
  int32_t* value_sums;     // [rows, padded v_dim]

  // Bytes for `row_count` rows, a multiple of 64; and their division. weight_groups: groups of
  // dims of V with scales of their own, 0 without quantised KV.
  static size_t ByteCount(const AttentionSpec& spec, size_t row_count, size_t weight_groups);
  static AttentionScratch At(std::byte* memory, const AttentionSpec& spec, size_t row_count,
                             size_t weight_groups);
};

using AttendFn = void (*)(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                          const AttentionScratch& scratch);
void AttendItemF32(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                   const AttentionScratch& scratch);
void AttendItemBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                    const AttentionScratch& scratch);
void AttendItemEncoded(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch);
void AttendItemRowsF32(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch);
void AttendItemRowsBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                        const AttentionScratch& scratch);
void AttendItemRowsF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch);

// Merges the partial states of one row and KV head in order, and writes its output. Scratch memory:
// `running` alone.
void MergePartials(const AttentionRun& run, int32_t row, size_t kv_head,
                   const AttentionScratch& scratch);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ATTEND_H_
