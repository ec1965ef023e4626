#include "kvasir/attention/merge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace kvasir {

namespace {

constexpr float kNoKeys = -std::numeric_limits<float>::infinity();
// Below this many numbers (~3 us of work) waking the other threads costs more than it saves.
constexpr size_t kParallelNumbers = 16384;

struct HeadState {
  const float* v;  // [head_dim]
  float s;
};

// One row and head. `state_at`(i) is the i-th of `count` states; v and s may be those of the first.
template <class StateAt>
void MergeHead(size_t count, const StateAt& state_at, size_t head_dim, float* v, float* s) {
  float max = kNoKeys;
  for (size_t i = 0; i < count; ++i) {
    const float lse = state_at(i).s;
    max = lse > max || std::isnan(lse) ? lse : max;
  }
  float sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const float lse = state_at(i).s;
    if (lse != kNoKeys) sum += std::exp(lse - max);
  }
  bool is_first = true;
  for (size_t i = 0; i < count; ++i) {
    const HeadState state = state_at(i);
    if (state.s == kNoKeys) continue;
    const float weight = std::exp(state.s - max) / sum;  // 1 if the others have no keys
    if (is_first) {
      for (size_t d = 0; d < head_dim; ++d) v[d] = weight * state.v[d];
    } else {
      for (size_t d = 0; d < head_dim; ++d) v[d] += weight * state.v[d];
    }
    is_first = false;
  }
  if (is_first) std::fill_n(v, head_dim, 0.0f);
  *s = is_first ? kNoKeys : max + std::log(sum);
}

std::string Shape(size_t rows, size_t cols) {
  return "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
}

template <typename T>
Status CheckShape(const std::string& name, MatrixView<T> view, size_t rows, size_t cols) {
  if (view.rows() == rows && view.cols() == cols) return OkStatus();
  return InvalidArgument(name + " has shape " + Shape(view.rows(), view.cols()) + ", allowed is " +
                         Shape(rows, cols));
}

// That v has whole heads for the heads of s.
template <typename T>
Status CheckState(const std::string& v_name, const std::string& s_name, MatrixView<T> v,
                  MatrixView<T> s) {
  if (s.rows() != v.rows() || s.cols() == 0 || v.cols() % s.cols() != 0) {
    return InvalidArgument(s_name + " has shape " + Shape(s.rows(), s.cols()) + " and " + v_name +
                           " " + Shape(v.rows(), v.cols()) +
                           ", allowed are [rows, num_heads] and [rows, num_heads * head_dim]");
  }
  return OkStatus();
}

// merge_row(row) for all rows of `numbers` numbers each.
template <class MergeRow>
void ForRows(size_t rows, size_t numbers, ThreadPool& pool, const MergeRow& merge_row) {
  if (rows * numbers < kParallelNumbers) {
    for (size_t row = 0; row < rows; ++row) merge_row(row);
    return;
  }
  pool.ParallelFor(rows, [&](size_t row, size_t) { merge_row(row); });
}

}  // namespace

Status MergeState(MatrixView<const float> v_a, MatrixView<const float> s_a,
                  MatrixView<const float> v_b, MatrixView<const float> s_b, MatrixView<float> v,
                  MatrixView<float> s, ThreadPool& pool) {
  KVASIR_RETURN_IF_ERROR(CheckState("v_a", "s_a", v_a, s_a));
  KVASIR_RETURN_IF_ERROR(CheckShape("v_b", v_b, v_a.rows(), v_a.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("s_b", s_b, s_a.rows(), s_a.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("v", v, v_a.rows(), v_a.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("s", s, s_a.rows(), s_a.cols()));
  const size_t heads = s.cols(), dim = v.cols() / heads;
  ForRows(v.rows(), v.cols(), pool, [&](size_t row) {
    for (size_t head = 0; head < heads; ++head) {
      const HeadState states[2] = {{v_a.row(row) + head * dim, s_a.row(row)[head]},
                                   {v_b.row(row) + head * dim, s_b.row(row)[head]}};
      MergeHead(
          2, [&](size_t i) { return states[i]; }, dim, v.row(row) + head * dim, s.row(row) + head);
    }
  });
  return OkStatus();
}

Status MergeStateInPlace(MatrixView<float> v, MatrixView<float> s, MatrixView<const float> v_other,
                         MatrixView<const float> s_other, std::span<const uint8_t> mask,
                         ThreadPool& pool) {
  KVASIR_RETURN_IF_ERROR(CheckState("v", "s", v, s));
  KVASIR_RETURN_IF_ERROR(CheckShape("v_other", v_other, v.rows(), v.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("s_other", s_other, s.rows(), s.cols()));
  if (!mask.empty() && mask.size() != v.rows()) {
    return InvalidArgument("mask has " + std::to_string(mask.size()) +
                           " entries, rows = " + std::to_string(v.rows()) + " are needed");
  }
  const size_t heads = s.cols(), dim = v.cols() / heads;
  ForRows(v.rows(), v.cols(), pool, [&](size_t row) {
    if (!mask.empty() && mask[row] == 0) return;
    for (size_t head = 0; head < heads; ++head) {
      const HeadState states[2] = {{v.row(row) + head * dim, s.row(row)[head]},
                                   {v_other.row(row) + head * dim, s_other.row(row)[head]}};
      MergeHead(
          2, [&](size_t i) { return states[i]; }, dim, v.row(row) + head * dim, s.row(row) + head);
    }
  });
  return OkStatus();
}

Status MergeStates(MatrixView<const float> v, MatrixView<const float> s, size_t num_states,
                   MatrixView<float> v_merged, MatrixView<float> s_merged, ThreadPool& pool) {
  KVASIR_RETURN_IF_ERROR(CheckState("v_merged", "s_merged", v_merged, s_merged));
  KVASIR_RETURN_IF_ERROR(CheckShape("v", v, v_merged.rows(), num_states * v_merged.cols()));
  KVASIR_RETURN_IF_ERROR(CheckShape("s", s, s_merged.rows(), num_states * s_merged.cols()));
  const size_t heads = s_merged.cols(), dim = v_merged.cols() / heads;
  ForRows(v.rows(), v.cols(), pool, [&](size_t row) {
    for (size_t head = 0; head < heads; ++head) {
      const auto state_at = [&](size_t i) {
        const size_t at = i * heads + head;
        return HeadState{v.row(row) + at * dim, s.row(row)[at]};
      };
      MergeHead(num_states, state_at, dim, v_merged.row(row) + head * dim,
                s_merged.row(row) + head);
    }
  });
  return OkStatus();
}

}  // namespace kvasir
