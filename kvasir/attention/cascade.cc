#include "kvasir/attention/cascade.h"

#include <algorithm>
#include <string>

#include "kvasir/attention/merge.h"
#include "kvasir/base/check.h"

namespace kvasir {

class CascadePlanner {
 public:
  CascadePlanner(const AttentionSpec& spec, std::span<const CascadeLevel> levels,
                 const PagedKv& memory, const AttentionPlanOptions& options,
                 MultiLevelCascadeAttentionPlan* plan)
      : spec_(spec), levels_(levels), memory_(memory), options_(options), plan_(*plan) {}

  Status Plan() {
    if (levels_.empty()) return InvalidArgument("levels is empty, at least 1 is needed");
    if (memory_.is_ragged) return InvalidArgument("a cascade needs pages, the memory is ragged");
    for (size_t i = 0; i < levels_.size(); ++i) {
      const Status status = CheckLevel(i);
      if (!status.ok()) return status.WithContext("level " + std::to_string(i));
    }
    plan_.spec_ = spec_;
    plan_.row_count_ = size_t(levels_.back().qo_indptr.back());
    plan_.level_lists_.clear();
    plan_.level_plans_.clear();
    if (!JoinLevels()) return PlanLevels();
    return PlanBatchAttention(spec_, levels_.back().qo_indptr,
                              MultiLevelCascadeAttentionPlan::View(memory_, plan_.flat_lists_),
                              options_, &plan_.flat_);
  }

 private:
  // The spec of one level where levels run alone.
  AttentionSpec LevelSpec(size_t level) const {
    AttentionSpec spec = spec_;
    if (level + 1 < levels_.size()) {
      spec.causal = false;
      spec.sinks = {};
    }
    return spec;
  }

  Status CheckLevel(size_t index) const {
    const CascadeLevel& level = levels_[index];
    PagedKv kv = memory_;
    kv.kv_indptr = level.kv_indptr;
    kv.kv_indices = level.kv_indices;
    kv.kv_last_page_len = level.kv_last_page_len;
    AttentionSpec spec = LevelSpec(index);
    // Over the joined lists: checked with them.
    spec.packed_custom_mask = {};
    spec.rope = nullptr;
    KVASIR_RETURN_IF_ERROR(CheckAttention(spec, level.qo_indptr, kv));
    const int32_t rows = levels_.back().qo_indptr.empty() ? 0 : levels_.back().qo_indptr.back();
    if (level.qo_indptr.back() == rows) return OkStatus();
    return InvalidArgument("qo_indptr ends at " + std::to_string(level.qo_indptr.back()) +
                           ", the last level's at " + std::to_string(rows));
  }

  // The page lists of each sequence as one list; false if there is none that means the same.
  bool JoinLevels() {
    MultiLevelCascadeAttentionPlan::Lists& lists = plan_.flat_lists_;
    const CascadeLevel& last = levels_.back();
    const size_t batch = last.kv_last_page_len.size();
    lists.kv_indptr.assign(1, 0);
    lists.kv_indices.clear();
    lists.kv_last_page_len.clear();
    std::vector<size_t> group(levels_.size(), 0);
    for (size_t b = 0; b < batch; ++b) {
      const int32_t q_begin = last.qo_indptr[b], q_end = last.qo_indptr[b + 1];
      const int32_t pages = last.kv_indptr[b + 1] - last.kv_indptr[b];
      const int32_t kv_len =
          pages == 0 ? 0 : (pages - 1) * memory_.page_size + last.kv_last_page_len[b];
      // Of more queries than keys the first ones would lose keys of the level before.
      if (spec_.causal && q_end - q_begin > kv_len && levels_.size() > 1) return false;
      for (size_t i = 0; i + 1 < levels_.size() && q_begin < q_end; ++i) {
        const CascadeLevel& level = levels_[i];
        size_t& g = group[i];
        while (level.qo_indptr[g + 1] <= q_begin) ++g;
        if (level.qo_indptr[g + 1] < q_end) return false;
        Append(level, g, &lists);
        if (level.kv_indptr[g] < level.kv_indptr[g + 1] &&
            level.kv_last_page_len[g] != memory_.page_size) {
          return false;
        }
      }
      Append(last, b, &lists);
      lists.kv_indptr.push_back(int32_t(lists.kv_indices.size()));
      lists.kv_last_page_len.push_back(pages == 0 ? memory_.page_size : last.kv_last_page_len[b]);
    }
    return true;
  }

  static void Append(const CascadeLevel& level, size_t group,
                     MultiLevelCascadeAttentionPlan::Lists* lists) {
    lists->kv_indices.insert(lists->kv_indices.end(),
                             level.kv_indices.begin() + level.kv_indptr[group],
                             level.kv_indices.begin() + level.kv_indptr[group + 1]);
  }

  Status PlanLevels() {
    const auto refuse = [](const char* name) {
      return InvalidArgument(std::string(name) +
                             " looks at positions: all levels but the last must end in full pages, "
                             "hold whole sequences, and the last have a key for each query");
    };
    if (spec_.window_left >= 0) return refuse("window_left");
    if (!spec_.alibi_slopes.empty()) return refuse("alibi_slopes");
    if (!spec_.packed_custom_mask.empty()) return refuse("packed_custom_mask");
    if (spec_.rope != nullptr) return refuse("rope");
    if (spec_.variant != nullptr) return refuse("variant");
    plan_.level_plans_.resize(levels_.size());
    for (size_t i = 0; i < levels_.size(); ++i) {
      const CascadeLevel& level = levels_[i];
      MultiLevelCascadeAttentionPlan::Lists& lists = plan_.level_lists_.emplace_back();
      lists.kv_indptr.assign(level.kv_indptr.begin(), level.kv_indptr.end());
      lists.kv_indices.assign(level.kv_indices.begin(),
                              level.kv_indices.begin() + level.kv_indptr.back());
      lists.kv_last_page_len.assign(level.kv_last_page_len.begin(), level.kv_last_page_len.end());
      KVASIR_RETURN_IF_ERROR(PlanBatchAttention(
          LevelSpec(i), level.qo_indptr, MultiLevelCascadeAttentionPlan::View(memory_, lists),
          options_, &plan_.level_plans_[i]));
    }
    const size_t numbers = plan_.row_count_ * spec_.num_qo_heads * (spec_.v_dim() + 2);
    KVASIR_ASSIGN_OR_RETURN(plan_.workspace_, AlignedBuffer::Allocate(numbers * sizeof(float)));
    return OkStatus();
  }

  const AttentionSpec& spec_;
  std::span<const CascadeLevel> levels_;
  const PagedKv& memory_;
  const AttentionPlanOptions& options_;
  MultiLevelCascadeAttentionPlan& plan_;
};

PagedKv MultiLevelCascadeAttentionPlan::View(const PagedKv& memory, const Lists& lists) {
  PagedKv kv = memory;
  kv.kv_indptr = lists.kv_indptr;
  kv.kv_indices = lists.kv_indices;
  kv.kv_last_page_len = lists.kv_last_page_len;
  return kv;
}

void MultiLevelCascadeAttentionPlan::Run(const PagedKv& memory, uint32_t layer,
                                         MatrixView<const float> q, MatrixView<float> out,
                                         MatrixView<float> lse, ThreadPool& pool) const {
  if (is_flat()) {
    flat_.Run(View(memory, flat_lists_), layer, q, out, lse, pool);
    return;
  }
  const size_t heads = spec_.num_qo_heads, columns = heads * spec_.v_dim();
  float* numbers = workspace_.as<float>();
  const MatrixView<float> level_out(numbers, row_count_, columns);
  const MatrixView<float> level_lse(numbers + row_count_ * columns, row_count_, heads);
  const MatrixView<float> own_lse(numbers + row_count_ * (columns + heads), row_count_, heads);
  const MatrixView<float> merged_lse = lse.data() == nullptr ? own_lse : lse;
  for (size_t i = 0; i < level_plans_.size(); ++i) {
    const bool is_first = i == 0;
    level_plans_[i].Run(View(memory, level_lists_[i]), layer, q, is_first ? out : level_out,
                        is_first ? merged_lse : level_lse, pool);
    if (is_first) continue;
    const Status status = MergeStateInPlace(out, merged_lse, level_out, level_lse, {}, pool);
    KVASIR_CHECK(status.ok());
  }
}

Status PlanMultiLevelCascadeAttention(const AttentionSpec& spec,
                                      std::span<const CascadeLevel> levels, const PagedKv& memory,
                                      const AttentionPlanOptions& options,
                                      MultiLevelCascadeAttentionPlan* plan) {
  return CascadePlanner(spec, levels, memory, options, plan).Plan();
}

}  // namespace kvasir
