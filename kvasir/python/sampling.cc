#include "kvasir/python/sampling.h"

#include <string>
#include <utility>
#include <vector>

#include "kvasir/kernels/batch_sampling.h"
#include "kvasir/kernels/speculative_sampling.h"
#include "kvasir/python/rows.h"
#include "kvasir/python/shared_pool.h"
#include "kvasir/python/spec.h"
#include "kvasir/python/tensor.h"

namespace kvasir {

namespace py = pybind11;

namespace {

// A tensor [rows, columns] as one of [rows, 1, columns].
Tensor AsHeads(Tensor tensor) {
  CheckNumbers(tensor, 2, "[rows, vocab_size]");
  tensor.strides = {tensor.strides[0], tensor.shape[1], tensor.strides[1]};
  tensor.shape = {tensor.shape[0], 1, tensor.shape[1]};
  return tensor;
}

// Logits or probabilities, [rows, vocab_size].
struct Values {
  Values(py::handle object, const std::string& name)
      : Values(AsHeads(TensorFromPython(object, name))) {}
  explicit Values(const Tensor& tensor)
      : row_count(tensor.shape[0]),
        vocab_size(tensor.shape[2]),
        rows(tensor, row_count, 1, vocab_size) {}
  MatrixView<const float> Read(ThreadPool& pool) { return rows.Read(pool, &scratch); }

  int64_t row_count, vocab_size;
  QueryRows rows;
  std::vector<float> scratch;
};

// Integers that the Python side has made: dense int32 [rows, columns].
MatrixView<int32_t> IntegerMatrix(py::handle object, const std::string& name, bool is_output) {
  const Tensor tensor = TensorFromPython(object, name);
  const bool is_dense = tensor.rank() == 2 && (tensor.shape[1] <= 1 || tensor.strides[1] == 1) &&
                        (tensor.shape[0] <= 1 || tensor.strides[0] == tensor.shape[1]);
  if (tensor.type != NumberType::kI32 || !is_dense || (is_output && !tensor.is_writable)) {
    ThrowInvalid(name + " has dtype " + tensor.type_name + " and shape " + tensor.ShapeText() +
                 ", a dense array of int32 with two dimensions is needed");
  }
  return {reinterpret_cast<int32_t*>(tensor.data), size_t(tensor.shape[0]),
          size_t(tensor.shape[1])};
}

// Seeds and positions: dense uint64, one for each row.
std::vector<uint64_t> Counters(py::handle object, const std::string& name) {
  const Tensor tensor = TensorFromPython(object, name);
  if (tensor.type != NumberType::kU64 || tensor.rank() != 1 ||
      (tensor.shape[0] > 1 && tensor.strides[0] != 1)) {
    ThrowInvalid(name + " has dtype " + tensor.type_name + " and shape " + tensor.ShapeText() +
                 ", a dense array of uint64 is needed");
  }
  const auto* from = reinterpret_cast<const uint64_t*>(tensor.data);
  return {from, from + tensor.shape[0]};
}

// What filters do: the numbers of each row, which BatchFilter borrows.
struct OwnedFilter {
  OwnedFilter(bool is_logits, py::handle temperature, py::handle top_k, py::handle top_p,
              py::handle min_p, bool is_joint)
      : temperatures(FloatsFromPython(temperature, "temperature")),
        top_ks(IndicesFromPython(top_k, "top_k")),
        top_ps(FloatsFromPython(top_p, "top_p")),
        min_ps(FloatsFromPython(min_p, "min_p")) {
    filter.kind = is_logits ? RowKind::kLogits : RowKind::kProbs;
    // One number is for all rows.
    if (temperatures.size() == 1) filter.temperature = temperatures[0];
    if (temperatures.size() != 1) filter.temperature = temperatures;
    if (top_ks.size() == 1) filter.top_k = top_ks[0];
    if (top_ks.size() != 1) filter.top_k = top_ks;
    if (top_ps.size() == 1) filter.top_p = top_ps[0];
    if (top_ps.size() != 1) filter.top_p = top_ps;
    if (min_ps.size() == 1) filter.min_p = min_ps[0];
    if (min_ps.size() != 1) filter.min_p = min_ps;
    filter.filter_apply_order = is_joint ? FilterApplyOrder::kJoint : FilterApplyOrder::kTopKFirst;
  }

  std::vector<float> temperatures;
  std::vector<int32_t> top_ks;
  std::vector<float> top_ps, min_ps;
  BatchFilter filter;
};

// Calls job(workspace), a Status, without the GIL, and throws what it finds.
template <class Job>
void RunSampling(const Job& job) {
  Status status;
  {
    const py::gil_scoped_release release;
    WithSamplingWorkspace([&](SamplingWorkspace& workspace) { status = job(workspace); });
  }
  ThrowIfError(status);
}

void Sample(const std::string& name, py::handle object, const OwnedFilter& owned, py::handle seed,
            py::handle position, py::handle indices, py::handle samples) {
  Values values(object, name);
  const std::vector<uint64_t> seeds = Counters(seed, "seed");
  const std::vector<uint64_t> positions = Counters(position, "position");
  std::vector<int32_t> rows;
  SamplingRows sampling_rows = {.seed = seeds, .position = positions};
  if (!indices.is_none()) {
    rows = IndicesFromPython(indices, "indices");
    sampling_rows.indices = rows;
  }
  const MatrixView<int32_t> out = IntegerMatrix(samples, "samples", true);
  RunSampling([&](SamplingWorkspace& workspace) {
    return FilteredSampling(values.Read(workspace.pool()), owned.filter, sampling_rows,
                            std::span<TokenId>(out.data(), out.rows() * out.cols()), workspace);
  });
}

void Renormalise(const std::string& name, py::handle object, const OwnedFilter& owned,
                 py::handle out) {
  Values values(object, name);
  Tensor out_tensor = TensorFromPython(out, "out");
  CheckShape(out_tensor, {values.row_count, values.vocab_size});
  const OutputRows out_rows(AsHeads(std::move(out_tensor)), values.row_count, 1, values.vocab_size);
  RunSampling([&](SamplingWorkspace& workspace) {
    std::vector<float> scratch;
    const Status status = FilteredProbs(values.Read(workspace.pool()), owned.filter,
                                        out_rows.Memory(&scratch), workspace);
    if (status.ok()) out_rows.Finish(workspace.pool(), scratch);
    return status;
  });
}

void MaskLogits(py::handle object, py::handle top_k, py::handle out) {
  Values values(object, "logits");
  const std::vector<int32_t> top_ks = IndicesFromPython(top_k, "top_k");
  Tensor out_tensor = TensorFromPython(out, "out");
  CheckShape(out_tensor, {values.row_count, values.vocab_size});
  const OutputRows out_rows(AsHeads(std::move(out_tensor)), values.row_count, 1, values.vocab_size);
  RunSampling([&](SamplingWorkspace& workspace) {
    std::vector<float> scratch;
    const PerRow<int32_t> k =
        top_ks.size() == 1 ? PerRow<int32_t>(top_ks[0]) : PerRow<int32_t>(top_ks);
    const Status status =
        TopKMaskLogits(values.Read(workspace.pool()), k, out_rows.Memory(&scratch), workspace);
    if (status.ok()) out_rows.Finish(workspace.pool(), scratch);
    return status;
  });
}

std::span<int32_t> Column(MatrixView<int32_t> matrix) {
  return {matrix.data(), matrix.rows() * matrix.cols()};
}

void VerifyChain(py::handle draft_probs, py::handle draft_token_ids, py::handle target_probs,
                 py::handle seed, py::handle position, py::handle token_ids, py::handle emitted,
                 py::handle accepted) {
  Values draft(draft_probs, "draft_probs"), target(target_probs, "target_probs");
  const std::vector<uint64_t> seeds = Counters(seed, "seed");
  const std::vector<uint64_t> positions = Counters(position, "position");
  ChainSpeculativeInput input;
  input.draft_token_ids = IntegerMatrix(draft_token_ids, "draft_token_ids", false);
  input.random = {.seed = seeds, .position = positions};
  const ChainSpeculativeOutput output = {
      .token_ids = IntegerMatrix(token_ids, "output_token_ids", true),
      .emitted_draft_token_num = Column(IntegerMatrix(emitted, "emitted_draft_token_num", true)),
      .accepted_token_num = Column(IntegerMatrix(accepted, "accepted_token_num", true))};
  RunSampling([&](SamplingWorkspace& workspace) {
    input.draft_probs = draft.Read(workspace.pool());
    input.target_probs = target.Read(workspace.pool());
    return ChainSpeculativeSampling(input, output, workspace);
  });
}

void VerifyTree(py::handle parents, py::handle draft_probs, py::handle draft_token_ids,
                py::handle target_probs, py::handle seed, py::handle position, py::handle token_ids,
                py::handle nodes, py::handle emitted) {
  Values draft(draft_probs, "draft_probs"), target(target_probs, "target_probs");
  const std::vector<uint64_t> seeds = Counters(seed, "seed");
  const std::vector<uint64_t> positions = Counters(position, "position");
  TreeSpeculativeInput input;
  input.parents = IntegerMatrix(parents, "parents", false);
  input.draft_token_ids = IntegerMatrix(draft_token_ids, "draft_token_ids", false);
  input.random = {.seed = seeds, .position = positions};
  const TreeSpeculativeOutput output = {
      .token_ids = IntegerMatrix(token_ids, "output_token_ids", true),
      .nodes = IntegerMatrix(nodes, "output_nodes", true),
      .emitted_draft_token_num = Column(IntegerMatrix(emitted, "emitted_draft_token_num", true))};
  RunSampling([&](SamplingWorkspace& workspace) {
    input.draft_probs = draft.Read(workspace.pool());
    input.target_probs = target.Read(workspace.pool());
    return TreeSpeculativeSampling(input, output, workspace);
  });
}

}  // namespace

void BindSampling(py::module_& module) {
  module.def("sample",
             [](const std::string& name, py::handle values, bool is_logits, py::handle temperature,
                py::handle top_k, py::handle top_p, py::handle min_p, bool is_joint,
                py::handle seed, py::handle position, py::handle indices, py::handle samples) {
               const OwnedFilter owned(is_logits, temperature, top_k, top_p, min_p, is_joint);
               Sample(name, values, owned, seed, position, indices, samples);
             });
  module.def("renormalise", [](const std::string& name, py::handle values, bool is_logits,
                               py::handle temperature, py::handle top_k, py::handle top_p,
                               py::handle min_p, bool is_joint, py::handle out) {
    const OwnedFilter owned(is_logits, temperature, top_k, top_p, min_p, is_joint);
    Renormalise(name, values, owned, out);
  });
  module.def("top_k_mask_logits", &MaskLogits);
  module.def("chain_speculative_sampling", &VerifyChain);
  module.def("tree_speculative_sampling", &VerifyTree);
}

}  // namespace kvasir
