// One work item while it is executed: its rows, its scratch memory, and the keys that each row
// sees. Included once per target.

#if defined(KVASIR_ATTENTION_ITEM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ITEM_INL_H_
#undef KVASIR_ATTENTION_ITEM_INL_H_
#else
#define KVASIR_ATTENTION_ITEM_INL_H_
#endif

#include <algorithm>
#include <cstdlib>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Offsets of tokens in a split.
struct TokenRange {
  size_t begin = 0;
  size_t end = 0;
};

// Tiles [first, last) of one split, by index in the sequence.
struct TileRange {
  size_t first;
  size_t last;
};

// Offsets in a split: of a tile, and of the tiles that are used, in order.
struct TilePlace {
  size_t token;
  size_t first;
  size_t last;
};

// Rows are dealt to blocks of equal size <= kBlockRowsMax; block i has its queries, scaled, in
// q + i * head_dim * kBlockRowsMax as [head_dim, kBlockRowsMax], so that the numbers which meet one
// dim of K lie side by side.
struct Item {
  const AttentionRun& run;
  const AttentionWorkItem& work;
  const AttentionScratch& scratch;
  size_t kv_head;
  size_t head_dim;
  size_t v_dim;
  size_t padded_v_dim;  // rounded up to a multiple of 16
  size_t group;         // query heads per KV head
  size_t row_count;
  size_t block_rows;  // rows of each block, the last may have fewer
  // Of blocks: the layer's tiles of the KV head in page 0, and the bytes from page to page.
  const std::byte* key_tiles = nullptr;
  const std::byte* value_tiles = nullptr;
  size_t page_bytes = 0;

  Item(const AttentionRun& r, const AttentionWorkItem& w, size_t head, const AttentionScratch& s)
      : run(r),
        work(w),
        scratch(s),
        kv_head(head),
        head_dim(r.spec.head_dim),
        v_dim(r.spec.v_dim()),
        padded_v_dim((v_dim + kLaneCount - 1) / kLaneCount * kLaneCount),
        group(r.spec.group_size()),
        row_count(size_t(w.row_end - w.row_begin) * group) {
    const size_t blocks = (row_count + kBlockRowsMax - 1) / kBlockRowsMax;
    block_rows = (row_count + blocks - 1) / blocks;
    if (r.kv.rows || r.kv.base == nullptr) return;
    const KvBlockLayout& layout = r.kv.layout;
    key_tiles = r.kv.base + layout.KTileOffset(r.layer, uint32_t(head));
    value_tiles = r.kv.base + layout.VTileOffset(r.layer, uint32_t(head));
    page_bytes = layout.block_bytes();
  }

  size_t BlockRowCount(size_t first_row) const {
    return std::min(block_rows, row_count - first_row);
  }
  float* BlockQ(size_t first_row) const {
    return scratch.q + first_row / block_rows * head_dim * kBlockRowsMax;
  }
  // Of the batch's queries, that which row `row` belongs to.
  size_t Query(size_t row) const {
    return size_t(run.row_ids[size_t(work.row_begin) + row / group]);
  }
  const AttentionPlanRow& PlanRow(size_t row) const { return run.rows[Query(row)]; }
  size_t QoHead(size_t row) const { return kv_head * group + row % group; }
  size_t TokenCount() const { return size_t(run.kv.KvLen(size_t(work.sequence))); }
};

// A query, turned to its position where keys are turned as they are read. The position is negative
// where there are more queries than keys.
inline void RotateQuery(const RopeTable& rope, int32_t position, float* q) {
  const size_t count = rope.frequency_count(), distance = size_t(std::abs(position));
  const size_t a = distance / kLaneCount, b = distance % kLaneCount;
  const float sign = position < 0 ? -1.0f : 1.0f;
  for (size_t d = 0; d < count; ++d) {
    const float coarse_cos = rope.CoarseCos(a)[d], coarse_sin = rope.CoarseSin(a)[d];
    const float fine_cos = rope.FineCos()[d * kLaneCount + b];
    const float fine_sin = rope.FineSin()[d * kLaneCount + b];
    const float cos = coarse_cos * fine_cos - coarse_sin * fine_sin;
    const float sin = sign * (coarse_sin * fine_cos + coarse_cos * fine_sin);
    const float x = q[d * kBlockRowsMax], y = q[(d + count) * kBlockRowsMax];
    q[d * kBlockRowsMax] = x * cos - y * sin;
    q[(d + count) * kBlockRowsMax] = y * cos + x * sin;
  }
}

// Scales and packs the queries.
inline void PackRows(const Item& item) {
  const AttentionSpec& spec = item.run.spec;
  for (size_t row = 0; row < item.row_count; ++row) {
    const float* q = item.run.q.row(item.Query(row)) + item.QoHead(row) * item.head_dim;
    float* to = item.BlockQ(row) + row % item.block_rows;
    for (size_t d = 0; d < item.head_dim; ++d) to[d * kBlockRowsMax] = q[d] * spec.sm_scale;
    const int32_t position = item.PlanRow(row).row.position();
    if (spec.rope != nullptr) RotateQuery(*spec.rope, position, to);
  }
}

// The visible ranges of the rows within the split [begin, end): an empty one is (0, 0). Returns the
// range that some row sees.
inline TokenRange ClipToSplit(const Item& item, int32_t begin, int32_t end) {
  TokenRange all = {size_t{kKvSplitTokens}, 0};
  for (size_t row = 0; row < item.row_count; ++row) {
    const AttentionPlanRow& planned = item.PlanRow(row);
    const int32_t from = std::max(planned.visible_begin, begin) - begin;
    const int32_t to = std::min(planned.visible_end, end) - begin;
    item.scratch.split_begin[row] = from < to ? from : 0;
    item.scratch.split_end[row] = from < to ? to : 0;
    if (from >= to) continue;
    all.begin = std::min(all.begin, size_t(from));
    all.end = std::max(all.end, size_t(to));
  }
  return all;
}

// Range that some, or all, rows of a block see within the split.
inline TokenRange UnionOfBlock(const Item& item, size_t first_row, size_t rows) {
  TokenRange range = {size_t{kKvSplitTokens}, 0};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    if (item.scratch.split_end[row] == 0) continue;
    range.begin = std::min(range.begin, size_t(item.scratch.split_begin[row]));
    range.end = std::max(range.end, size_t(item.scratch.split_end[row]));
  }
  return range;
}
inline TokenRange IntersectionOfBlock(const Item& item, size_t first_row, size_t rows) {
  TokenRange range = {0, size_t{kKvSplitTokens}};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    range.begin = std::max(range.begin, size_t(item.scratch.split_begin[row]));
    range.end = std::min(range.end, size_t(item.scratch.split_end[row]));
  }
  return range;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
