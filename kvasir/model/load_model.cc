// LoadModel: checkpoint -> packed weights. Each tensor is packed by all threads, then its file
// pages are dropped, so that loading needs one copy of the weights and one tensor of the file.

#include <string>
#include <utility>

#include "kvasir/base/mapped_file.h"
#include "kvasir/base/topology.h"
#include "kvasir/formats/gguf_quants.h"
#include "kvasir/model/llama.h"
#include "kvasir/model/model.h"

namespace kvasir {

namespace {

// Rows of a packed q or k from rows whose RoPE pairs are neighbours (GGUF's llama order): row i of
// a head's first half is row 2i of the source, row i of the second half is row 2i + 1. Dims beyond
// `rotary_dim` have no pair and stay.
std::vector<uint32_t> UninterleavedRows(uint32_t head_count, uint32_t head_dim,
                                        uint32_t rotary_dim) {
  std::vector<uint32_t> order(size_t{head_count} * head_dim);
  const uint32_t half = rotary_dim / 2;
  for (uint32_t h = 0; h < head_count; ++h) {
    for (uint32_t i = 0; i < head_dim; ++i) {
      const uint32_t source = i < half ? 2 * i : i < rotary_dim ? 2 * (i - half) + 1 : i;
      order[h * head_dim + i] = h * head_dim + source;
    }
  }
  return order;
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const LoadOptions& options, ThreadPool& pool)
      : checkpoint_(checkpoint), options_(options), pool_(pool) {}

  Result<NetworkWeights> Load() {
    const ModelSpec& spec = checkpoint_.spec();
    NetworkWeights network;
    network.layers.resize(spec.layer_count);
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kTokenEmbedding, 0, {}, &network.embedding));
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kFinalNorm, 0, &network.final_norm));
    if (!spec.tied_embeddings) {
      KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kOutput, 0, {}, &network.output));
    }
    if (spec.rope_rows_interleaved) {
      q_order_ = UninterleavedRows(spec.q_head_count, spec.head_dim, spec.rope.rotary_dim);
      k_order_ = UninterleavedRows(spec.kv_head_count, spec.head_dim, spec.rope.rotary_dim);
    }
    for (uint32_t i = 0; i < spec.layer_count; ++i) {
      KVASIR_RETURN_IF_ERROR(Layer(i, &network.layers[i]));
    }
    network.byte_count = byte_count_;
    return network;
  }

 private:
  Status Layer(uint32_t i, LayerWeights* layer) {
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kAttnNorm, i, &layer->attn_norm));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kAttnQ, i, q_order_, &layer->q));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kAttnK, i, k_order_, &layer->k));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kAttnV, i, {}, &layer->v));
    KVASIR_RETURN_IF_ERROR(Vector(TensorRole::kAttnQBias, i, q_order_, 0, &layer->q_bias));
    KVASIR_RETURN_IF_ERROR(Vector(TensorRole::kAttnKBias, i, k_order_, 0, &layer->k_bias));
    KVASIR_RETURN_IF_ERROR(Vector(TensorRole::kAttnVBias, i, {}, 0, &layer->v_bias));
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kAttnQNorm, i, &layer->q_norm));
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kAttnKNorm, i, &layer->k_norm));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kAttnO, i, {}, &layer->o));
    KVASIR_RETURN_IF_ERROR(Vector(TensorRole::kAttnOBias, i, {}, 0, &layer->o_bias));
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kAttnPostNorm, i, &layer->attn_post_norm));
    KVASIR_RETURN_IF_ERROR(Norm(TensorRole::kFfnNorm, i, &layer->ffn_norm));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kFfnGate, i, {}, &layer->gate));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kFfnUp, i, {}, &layer->up));
    KVASIR_RETURN_IF_ERROR(Matrix(TensorRole::kFfnDown, i, {}, &layer->down));
    return Norm(TensorRole::kFfnPostNorm, i, &layer->ffn_post_norm);
  }

  Status Matrix(TensorRole role, uint32_t layer, std::span<const uint32_t> row_order,
                PackedWeights* out) {
    const TensorView* tensor = checkpoint_.Find(role, layer);
    KVASIR_CHECK(tensor != nullptr);  // OpenCheckpoint promises every matrix
    const WeightSource source{tensor->dtype, tensor->rows, tensor->cols, tensor->bytes.data(),
                              row_order};
    const bool dequantize = options_.activations == ActivationPrecision::kF32;
    auto packed = PackedWeights::Pack(source, dequantize, pool_);
    if (!packed.ok()) return packed.status().WithContext(tensor->name);
    *out = std::move(*packed);
    byte_count_ += out->bytes();
    Done(*tensor);
    return OkStatus();
  }

  Status Norm(TensorRole role, uint32_t layer, std::vector<float>* out) {
    return Vector(role, layer, {}, checkpoint_.spec().norm_weight_offset, out);
  }

  // Leaves *out empty when the checkpoint has no such tensor.
  Status Vector(TensorRole role, uint32_t layer, std::span<const uint32_t> order, float offset,
                std::vector<float>* out) {
    const TensorView* tensor = checkpoint_.Find(role, layer);
    if (tensor == nullptr) return OkStatus();
    std::vector<float> values(tensor->cols);
    DequantizeRow(tensor->dtype, tensor->bytes.data(), tensor->cols, values.data());
    out->resize(tensor->cols);
    for (size_t i = 0; i < values.size(); ++i) {
      (*out)[i] = values[order.empty() ? i : order[i]] + offset;
    }
    byte_count_ += out->size() * sizeof(float);
    Done(*tensor);
    return OkStatus();
  }

  void Done(const TensorView& tensor) {
    MappedFile::DropPages(tensor.bytes);
    done_bytes_ += tensor.bytes.size();
    if (options_.on_progress) {
      options_.on_progress(double(done_bytes_) / double(checkpoint_.tensor_bytes()));
    }
  }

  const Checkpoint& checkpoint_;
  const LoadOptions& options_;
  ThreadPool& pool_;
  std::vector<uint32_t> q_order_;
  std::vector<uint32_t> k_order_;
  size_t byte_count_ = 0;
  size_t done_bytes_ = 0;
};

// Bytes of the packed weights, before padding.
size_t PackedBytes(const Checkpoint& checkpoint, const LoadOptions& options) {
  if (options.activations == ActivationPrecision::kInt8) return checkpoint.tensor_bytes();
  size_t bytes = 0;
  for (const auto& [key, tensor] : checkpoint.tensors()) {
    bytes += tensor.rows * tensor.cols * sizeof(float);
  }
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Model>> LoadModel(const Checkpoint& checkpoint, const LoadOptions& options,
                                         ThreadPool& pool) {
  const ModelSpec& spec = checkpoint.spec();
  const size_t needed =
      PackedBytes(checkpoint, options) + Activations::ByteCount(spec, options.row_count_max);
  const size_t available = AvailableMemoryBytes();
  if (needed > available) {
    return ResourceExhausted("the weights and activations need " + std::to_string(needed >> 20) +
                             " MiB of memory, " + std::to_string(available >> 20) +
                             " MiB are available");
  }
  KVASIR_ASSIGN_OR_RETURN(Activations activations,
                          Activations::Create(spec, options.row_count_max, pool.thread_count()));
  KVASIR_ASSIGN_OR_RETURN(NetworkWeights weights, Loader(checkpoint, options, pool).Load());
  return std::unique_ptr<Model>(std::make_unique<LlamaModel>(
      spec, std::move(weights), std::move(activations), options, pool));
}

}  // namespace kvasir
