#include "kvasir/model/llama.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvasir/kernels/elementwise.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/kernels/rope.h"
#include "kvasir/model/layer_context.h"

namespace kvasir {

LlamaModel::LlamaModel(ModelSpec spec, NetworkWeights weights, Activations activations,
                       const LoadOptions& options, ThreadPool& pool)
    : spec_(std::move(spec)),
      weights_(std::move(weights)),
      activations_(std::move(activations)),
      row_count_max_(options.row_count_max),
      cascade_(options.cascade),
      observer_(options.observer),
      pool_(pool) {}

size_t LlamaModel::ActivationBytes(size_t row_count, size_t logit_row_count) const {
  return Activations::ByteCount(spec_, row_count) +
         logit_row_count * spec_.vocab_size * sizeof(float);
}

KvBlockLayout LlamaModel::KvLayout(KvFormats formats) const {
  return {spec_.layer_count, spec_.kv_head_count, spec_.head_dim, formats};
}

Status LlamaModel::Forward(const Batch& batch, MatrixView<float> logits) {
  KVASIR_RETURN_IF_ERROR(Validate(batch, logits));
  if (batch.tokens.empty()) return OkStatus();
  KVASIR_RETURN_IF_ERROR(PlanAttention(batch));
  BlockSelection* selection = selection_.empty() ? nullptr : &selection_;
  const LayerContext context{spec_,          batch,        plan_, sliding_plan_, selection,
                             selected_plan_, activations_, pool_, observer_};

  Embed(batch);
  ComputeAngles(batch);
  size_t rows = batch.tokens.size();
  for (uint32_t layer = 0; layer < spec_.layer_count; ++layer) {
    const LayerWeights& weights = weights_.layers[layer];
    AttendLayer(context, weights, layer);
    if (layer + 1 == spec_.layer_count && observer_ == nullptr) {
      // Beyond the last attention only rows whose logits are wanted have a reader.
      KeepRows(batch.logit_rows);
      rows = batch.logit_rows.size();
      if (rows == 0) return OkStatus();
    }
    ProjectAttended(context, weights, layer, rows);
    RunMlpLayer(context, weights, layer, rows);
  }
  if (observer_ != nullptr) {
    KeepRows(batch.logit_rows);
    rows = batch.logit_rows.size();
    if (rows == 0) return OkStatus();
  }
  ComputeLogits(rows, logits);
  return OkStatus();
}

Status LlamaModel::Validate(const Batch& batch, MatrixView<float> logits) const {
  const size_t rows = batch.tokens.size();
  if (rows > row_count_max_) {
    return InvalidArgument("batch has " + std::to_string(rows) + " rows, at most " +
                           std::to_string(row_count_max_) + " are allowed");
  }
  if (batch.positions.size() != rows || batch.qo_indptr.empty() ||
      batch.qo_indptr.back() != static_cast<int32_t>(rows)) {
    return InvalidArgument("batch of " + std::to_string(rows) +
                           " tokens has positions or qo_indptr of another length");
  }
  for (const TokenId token : batch.tokens) {
    if (token < 0 || token >= static_cast<TokenId>(spec_.vocab_size)) {
      return InvalidArgument("token id " + std::to_string(token) +
                             " is outside the vocabulary of " + std::to_string(spec_.vocab_size));
    }
  }
  for (const int32_t position : batch.positions) {
    if (position < 0) {
      return InvalidArgument("position " + std::to_string(position) + " is negative");
    }
  }
  int32_t previous = -1;
  for (const int32_t row : batch.logit_rows) {
    if (row <= previous || row >= static_cast<int32_t>(rows)) {
      return InvalidArgument("logit row " + std::to_string(row) +
                             " does not rise or is outside the batch of " + std::to_string(rows));
    }
    previous = row;
  }
  if (logits.rows() != batch.logit_rows.size() ||
      (logits.rows() > 0 && logits.cols() != spec_.vocab_size)) {
    return InvalidArgument("logits have the shape of another batch");
  }
  if (batch.kv.layout.layer_count != spec_.layer_count ||
      batch.kv.layout.kv_head_count != spec_.kv_head_count ||
      batch.kv.layout.head_dim != spec_.head_dim) {
    return InvalidArgument("the KV blocks have the layout of another model");
  }
  return OkStatus();
}

Status LlamaModel::PlanAttention(const Batch& batch) {
  AttentionSpec attention{spec_.q_head_count,    spec_.kv_head_count, spec_.head_dim,
                          spec_.attention_scale, /*window_left=*/-1,  spec_.attention_soft_cap};
  AttentionPlanOptions options = {.thread_count = pool_.thread_count(), .cascade = cascade_};
  // With one sequence there is nothing to weigh that the defaults would get wrong.
  if (batch.kv.batch_size() > 1) options.costs = MachineAttentionCosts(pool_);
  KVASIR_RETURN_IF_ERROR(PlanBatchAttention(attention, batch.qo_indptr, batch.kv, options, &plan_));
  KVASIR_RETURN_IF_ERROR(PlanBlockSelection(batch, attention, options));
  if (spec_.sliding_window == 0) return OkStatus();
  attention.window_left = static_cast<int32_t>(spec_.sliding_window) - 1;
  return PlanBatchAttention(attention, batch.qo_indptr, batch.kv, options, &sliding_plan_);
}

Status LlamaModel::PlanBlockSelection(const Batch& batch, const AttentionSpec& attention,
                                      const AttentionPlanOptions& options) {
  const BatchBlockSelect& select = batch.block_select;
  selection_.Clear();
  if (select.summaries != nullptr) select.summaries->Forget(batch.kv, batch.qo_indptr);
  if (select.options.budget_blocks == 0) return OkStatus();
  if (select.summaries == nullptr) {
    return InvalidArgument("block selection needs the summaries of the pool's blocks");
  }
  KVASIR_RETURN_IF_ERROR(
      selection_.Plan(select.options, batch.qo_indptr, batch.kv, select.is_decode));
  if (selection_.empty()) return OkStatus();
  select.summaries->Refresh(batch.kv, select.page_allocations, selection_.candidates(), pool_);
  return PlanBatchAttention(attention, batch.qo_indptr, selection_.kv(), options, &selected_plan_);
}

void LlamaModel::Embed(const Batch& batch) {
  const MatrixView<float> hidden = activations_.hidden(batch.tokens.size());
  ForEachRow(hidden.rows(), pool_, [&](size_t r) {
    weights_.embedding.DequantizeRow(batch.tokens[r], hidden.row(r));
    if (spec_.embedding_scale != 1) Scale(spec_.embedding_scale, hidden.row_span(r));
  });
}

void LlamaModel::ComputeAngles(const Batch& batch) {
  const size_t rows = batch.tokens.size();
  const bool slides = spec_.sliding_window > 0;
  ForEachRow(rows, pool_, [&](size_t r) {
    float* angles = activations_.angles(false, rows).row(r);
    RopeAngles(spec_.rope.inverse_frequency, batch.positions[r], angles,
               angles + spec_.rope.inverse_frequency.size());
    if (!slides) return;
    angles = activations_.angles(true, rows).row(r);
    RopeAngles(spec_.sliding_rope.inverse_frequency, batch.positions[r], angles,
               angles + spec_.sliding_rope.inverse_frequency.size());
  });
}

// Moves the rows that go on to the front of `hidden` and `attended`; they rise, so each moves down
// or stays.
void LlamaModel::KeepRows(std::span<const int32_t> rows) {
  const MatrixView<float> hidden = activations_.hidden(row_count_max_);
  const MatrixView<float> attended = activations_.attended(row_count_max_);
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t from = static_cast<size_t>(rows[i]);
    if (from == i) continue;
    std::copy_n(hidden.row(from), hidden.cols(), hidden.row(i));
    std::copy_n(attended.row(from), attended.cols(), attended.row(i));
  }
}

void LlamaModel::ComputeLogits(size_t rows, MatrixView<float> logits) {
  const PackedWeights& output = weights_.output.rows() > 0 ? weights_.output : weights_.embedding;
  const MatrixView<float> hidden = activations_.hidden(rows), normed = activations_.normed(rows);
  const GemmInput input = activations_.PrepareFine(normed, output, pool_, [&](size_t r) {
    RmsNorm(hidden.row_span(r), weights_.final_norm.data(), spec_.rms_norm_eps, normed.row(r));
  });
  GemmOutput product{&output, logits};
  product.paired = input.row_count == 2 * rows;
  Gemm(input, {&product, 1}, activations_.gemm_scratch(), pool_);
  if (spec_.logit_soft_cap == 0) return;
  ForEachRow(rows, pool_, [&](size_t r) { SoftCap(spec_.logit_soft_cap, logits.row_span(r)); });
}

}  // namespace kvasir
