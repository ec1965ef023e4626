// One work item: all query heads of a KV head for a tile of queries, split by split. Each K and V
// tile is read from memory once for all rows. With few rows (decode) the kernels widen bf16 in
// registers as they stream it; with more (prefill, cascades) a tile is widened once into scratch
// and used for every block of rows. The arithmetic of a row is the same either way. Where the tiles
// come from is a Source (block_source-inl.h, row_source-inl.h). Included once per target.

#if defined(KVASIR_ATTENTION_ATTEND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ATTEND_INL_H_
#undef KVASIR_ATTENTION_ATTEND_INL_H_
#else
#define KVASIR_ATTENTION_ATTEND_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/item-inl.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/attention/softmax-inl.h"
#include "kvasir/attention/state-inl.h"
#include "kvasir/attention/weigh-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Turns the keys of the widened tile `tile` to their positions.
inline void RotateKeyTile(const RopeTable& rope, const Item& item, size_t tile) {
  const size_t count = rope.frequency_count();
  for (size_t half = 0; half < kHalvesPerTile; ++half) {
    const size_t a = tile * kHalvesPerTile + half;
    if (a * kLaneCount >= rope.position_count()) return;  // behind the last token
    float* x = item.scratch.k_tile + half * item.head_dim * kLaneCount;
    float* y = x + count * kLaneCount;
    for (size_t d = 0; d < count; ++d, x += kLaneCount, y += kLaneCount) {
      const FloatLanes coarse_cos = SetLanes(rope.CoarseCos(a)[d]);
      const FloatLanes coarse_sin = SetLanes(rope.CoarseSin(a)[d]);
      const FloatLanes fine_cos = LoadLanes(rope.FineCos() + d * kLaneCount);
      const FloatLanes fine_sin = LoadLanes(rope.FineSin() + d * kLaneCount);
      const FloatLanes cos = Sub(Mul(coarse_cos, fine_cos), Mul(coarse_sin, fine_sin));
      const FloatLanes sin = MulAdd(coarse_sin, fine_cos, Mul(coarse_cos, fine_sin));
      const FloatLanes kx = LoadLanes(x), ky = LoadLanes(y);
      StoreLanes(Sub(Mul(kx, cos), Mul(ky, sin)), x);
      StoreLanes(MulAdd(ky, cos, Mul(kx, sin)), y);
    }
  }
}

inline TilePlace PlaceOf(const TileRange& tiles, size_t split_tile) {
  const size_t first = (tiles.first - split_tile) * kKvBlockTokens;
  return {.token = first, .first = first, .last = (tiles.last - split_tile) * kKvBlockTokens};
}

// Leaves of the block of rows [*first, *first + *rows) those from the first to the last that see
// something of the tile at `token`.
inline void TrimRows(const Item& item, size_t token, size_t* first, size_t* rows) {
  const auto sees = [&](size_t row) {
    return size_t(item.scratch.split_end[row]) > token &&
           size_t(item.scratch.split_begin[row]) < token + kKvBlockTokens;
  };
  while (*rows > 1 && !sees(*first)) ++*first, --*rows;
  while (*rows > 1 && !sees(*first + *rows - 1)) --*rows;
}

// Logits of every row against the tiles of one split, which begins at `split_tile`.
template <class Source>
void ScoreSplit(const Item& item, const TileRange& tiles, size_t split_tile) {
  const bool is_streamed = Source::StreamsKeys(item);
  TilePlace place = PlaceOf(tiles, split_tile);
  const std::byte* widened = reinterpret_cast<const std::byte*>(item.scratch.k_tile);
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const TilePointer tile = {Source::Key(item, t), t + 1 < tiles.last
                                                        ? Source::Key(item, t + 1)
                                                        : Source::Value(item, tiles.first)};
    const size_t token = place.token = (t - split_tile) * kKvBlockTokens;
    if (!is_streamed) {
      Source::WidenKeys(item, tile, place);
      if (item.run.spec.rope != nullptr) RotateKeyTile(*item.run.spec.rope, item, t);
    }
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      size_t rows = item.BlockRowCount(row), first = row;
      const TokenRange seen = UnionOfBlock(item, row, rows);
      if (seen.begin >= token + kKvBlockTokens || seen.end <= token) continue;
      if constexpr (Source::kSharesScores) TrimRows(item, token, &first, &rows);
      const float* q = item.BlockQ(row) + (first - row);
      float* scores = item.scratch.scores + first * kScoreStride + token;
      if (is_streamed) {
        Source::ScoreStreamed(item, tile, place, rows, q, scores);
      } else {
        ScoreTile<ScratchTile>(rows, q, item.head_dim, {widened, widened}, scores);
      }
    }
  }
}

// Logits -> weights for one row of a split that begins at position `begin`.
inline void SoftmaxRow(const Item& item, size_t row, int32_t begin, const AttentionStates& states) {
  int32_t* from = &item.scratch.split_begin[row];
  int32_t* to = &item.scratch.split_end[row];
  if (*from == *to) return;
  SoftmaxSpan span = {.scores = item.scratch.scores + row * kScoreStride,
                      .first_key = begin,
                      .begin = size_t(*from),
                      .end = size_t(*to)};
  AttentionRow about = item.PlanRow(row).row;
  about.qo_head = int32_t(item.QoHead(row));
  const AttentionSpec& spec = item.run.spec;
  if (spec.variant != nullptr) {
    spec.variant->softmax(spec.variant->params, about, &span);
  } else {
    BuiltInSoftmax(spec, about, &span);
  }
  if (span.max == -std::numeric_limits<float>::infinity()) {
    // Every logit is -inf: as if the row saw no key of this split.
    *from = *to = 0;
    return;
  }
  states.max[row] = span.max;
  states.sum[row] = span.sum;
  std::memset(states.out + row * states.out_stride, 0, states.out_stride * sizeof(float));
}

// Adds the tokens of one V tile, at offset `token` of the split, to a block of rows. Tokens that
// all rows see are added together; the ragged ends that causality and windows leave, row by row:
// a weight of 0 would not do, because 0 times a stale or infinite number is NaN.
template <class Values>
void WeighBlock(const Item& item, size_t first_row, size_t rows, const Values& values, size_t token,
                const AttentionStates& states) {
  const auto weigh = [&](size_t row, size_t count, size_t begin, size_t end) {
    begin = std::max(begin, token);
    end = std::min(end, token + kKvBlockTokens);
    if (begin >= end) return;
    WeighTile(count, values, item.padded_v_dim, begin - token, end - token,
              item.scratch.scores + row * kScoreStride + token,
              states.out + row * states.out_stride, states.out_stride);
  };
  TokenRange common = IntersectionOfBlock(item, first_row, rows);
  if (common.begin >= common.end) common = {size_t{kKvSplitTokens}, size_t{kKvSplitTokens}};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    weigh(row, 1, size_t(item.scratch.split_begin[row]),
          std::min(size_t(item.scratch.split_end[row]), common.begin));
  }
  weigh(first_row, rows, common.begin, common.end);
  for (size_t row = first_row; row < first_row + rows; ++row) {
    weigh(row, 1, std::max(size_t(item.scratch.split_begin[row]), common.end),
          size_t(item.scratch.split_end[row]));
  }
}

// The weighted sum of the values of the tiles, for every row. `seen` is what some row sees; `after`
// is what will be read next.
template <class Source>
void WeighSplit(const Item& item, const TileRange& tiles, size_t split_tile, const TokenRange& seen,
                const std::byte* after, const AttentionStates& states) {
  const bool is_streamed = Source::StreamsValues(item);
  TilePlace place = PlaceOf(tiles, split_tile);
  const std::byte* widened = reinterpret_cast<const std::byte*>(item.scratch.v_tile);
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const TilePointer tile = {Source::Value(item, t),
                              t + 1 < tiles.last ? Source::Value(item, t + 1) : after};
    const size_t token = place.token = (t - split_tile) * kKvBlockTokens;
    if (!is_streamed) {
      const size_t begin = std::max(seen.begin, token) - token;
      const size_t end = std::min(seen.end - token, size_t{kKvBlockTokens});
      Source::WidenValues(item, tile, place, begin, end);
    }
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      const size_t rows = item.BlockRowCount(row);
      if (is_streamed) {
        WeighBlock(item, row, rows, Source::StreamedValues(item, tile, place), token, states);
      } else {
        WeighBlock(item, row, rows, TileValues<ScratchTile>{{widened, widened}, item.padded_v_dim},
                   token, states);
      }
    }
  }
}

// The states of the rows over the keys [begin, end), one split.
template <class Source>
void AttendSplit(const Item& item, int32_t begin, int32_t end, const AttentionStates& states) {
  const TokenRange seen = ClipToSplit(item, begin, end);
  ClearAttentionStates(states);
  if (seen.begin >= seen.end) return;
  const size_t split_tile = size_t(begin) / kKvBlockTokens;
  const TileRange tiles = {split_tile + seen.begin / kKvBlockTokens,
                           split_tile + (seen.end + kKvBlockTokens - 1) / kKvBlockTokens};
  Source::PrepareSplit(item, split_tile, tiles);
  ScoreSplit<Source>(item, tiles, split_tile);
  for (size_t row = 0; row < item.row_count; ++row) SoftmaxRow(item, row, begin, states);
  const std::byte* after = end < item.work.kv_end ? Source::Key(item, size_t(end) / kKvBlockTokens)
                                                  : Source::Value(item, tiles.first);
  WeighSplit<Source>(item, tiles, split_tile, seen, after, states);
}

// The output, and the LSE if it is wanted, of row `row` of `states`: that of query `query` and head
// `qo_head`.
inline void FinishQuery(const AttentionRun& run, const AttentionStates& states, size_t row,
                        size_t query, size_t qo_head) {
  const AttentionSpec& spec = run.spec;
  const size_t v_dim = spec.v_dim();
  if (!spec.sinks.empty()) AddSink(spec.sinks[qo_head], states, row);
  if (run.lse.rows() > 0) {
    run.lse.row(query)[qo_head] = states.max[row] + std::log(states.sum[row]);
  }
  if (spec.variant != nullptr && !spec.variant->use_softmax && states.sum[row] != 0) {
    states.sum[row] = 1;  // the weights stand as they are
  }
  FinishRow(states, row, v_dim, run.out.row(query) + qo_head * v_dim);
}

// Copies the states of the item's rows into the slots of their queries, which slot_of names.
template <class SlotOf>
void StorePartials(const Item& item, const AttentionStates& states, const SlotOf& slot_of) {
  const size_t stride = states.out_stride;
  for (size_t row = 0; row < item.row_count; row += item.group) {
    const AttentionStates to = item.run.Partial(slot_of(item.PlanRow(row)), item.kv_head);
    std::memcpy(to.max, states.max + row, item.group * sizeof(float));
    std::memcpy(to.sum, states.sum + row, item.group * sizeof(float));
    std::memcpy(to.out, states.out + row * stride, item.group * stride * sizeof(float));
  }
}

// Attends split by split with attend_split(begin, end, states), and puts what comes out where the
// item says.
template <class AttendSplitFn>
HWY_INLINE void AttendSplits(const Item& item, const AttendSplitFn& attend_split) {
  using Output = AttentionWorkItem::Output;
  const AttentionRun& run = item.run;
  const AttentionWorkItem& work = item.work;
  const AttentionStates running =
      AttentionStates::At(item.scratch.running, item.row_count, item.v_dim);
  const AttentionStates current =
      AttentionStates::At(item.scratch.current, item.row_count, item.v_dim);
  ClearAttentionStates(running);
  for (int32_t begin = work.kv_begin; begin < work.kv_end; begin += kKvSplitTokens) {
    const int32_t end = std::min(begin + kKvSplitTokens, work.kv_end);
    if (work.output == Output::kSplits) {
      attend_split(begin, end, current);
      StorePartials(item, current, [&](const AttentionPlanRow& row) {
        return row.slot + 1 + (begin - row.folded_end) / kKvSplitTokens;
      });
    } else if (begin == work.kv_begin) {
      attend_split(begin, end, running);
    } else {
      attend_split(begin, end, current);
      MergeStates(current, running);
    }
  }
  if (work.output == Output::kFolded) {
    StorePartials(item, running, [](const AttentionPlanRow& row) { return row.slot; });
  } else if (work.output == Output::kFinal) {
    for (size_t row = 0; row < item.row_count; ++row) {
      FinishQuery(run, running, row, item.Query(row), item.QoHead(row));
    }
  }
}

template <class Source>
void AttendItem(const AttentionRun& run, const AttentionWorkItem& work, size_t kv_head,
                const AttentionScratch& scratch) {
  const Item item(run, work, kv_head, scratch);
  PackRows(item);
  AttendSplits(item, [&](int32_t begin, int32_t end, const AttentionStates& states) {
    AttendSplit<Source>(item, begin, end, states);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
