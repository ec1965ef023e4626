#include "kvasir/weights/tensor_map.h"

#include <algorithm>

#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

constexpr size_t kNamesShownMax = 8;

std::string TensorName(std::string_view pattern, uint32_t layer) {
  std::string name(pattern);
  const size_t place = name.find('#');
  if (place != std::string::npos) name.replace(place, 1, std::to_string(layer));
  return name;
}

// Multimodal checkpoints keep the language model below another name. Empty for tensors of the
// vision part, which a language model does not need.
std::string CanonicalHfName(std::string_view name) {
  for (const std::string_view vision : {"vision_tower.", "multi_modal_projector.",
                                        "model.vision_tower.", "model.multi_modal_projector."}) {
    if (name.starts_with(vision)) return "";
  }
  for (const std::string_view inner : {"language_model.model.", "model.language_model."}) {
    if (name.starts_with(inner)) return "model." + std::string(name.substr(inner.size()));
  }
  if (name == "language_model.lm_head.weight") return "lm_head.weight";
  return std::string(name);
}

// Tensors that hold nothing that the spec does not say already.
bool IsIgnorable(const ModelSpec& spec, std::string_view name) {
  if (name.empty() || name == "rope_freqs.weight") return true;
  if (name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn_rot_embd.weight")) return true;
  return spec.tied_embeddings && name == "lm_head.weight";
}

std::string ShapeText(std::span<const uint64_t> shape) {
  std::string text = "[";
  for (const uint64_t dimension : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dimension);
  }
  return text + "]";
}

// Some of one kind of complaint: "missing tensors: a, b and 3 more".
class NameList {
 public:
  explicit NameList(std::string_view title) : title_(title) {}
  void Add(std::string_view name) {
    if (++count_ > kNamesShownMax) return;
    text_ += (count_ > 1 ? ", " : "") + Printable(name, 160);
  }
  void AppendTo(std::string* message) const {
    if (count_ == 0) return;
    if (!message->empty()) *message += "; ";
    *message += title_ + ": " + text_;
    if (count_ > kNamesShownMax) {
      *message += " and " + std::to_string(count_ - kNamesShownMax) + " more";
    }
  }

 private:
  std::string title_;
  std::string text_;
  size_t count_ = 0;
};

// True when `file` has the shape. Vectors may have leading dimensions of 1.
bool HasShape(const FileTensor& file, const TensorShape& shape) {
  std::span<const uint64_t> dims = file.shape;
  const size_t wanted = shape.is_vector ? 1 : 2;
  while (dims.size() > wanted && dims.front() == 1) dims = dims.subspan(1);
  if (dims.size() != wanted || dims.back() != shape.cols) return false;
  return shape.is_vector || dims.front() == shape.rows;
}

}  // namespace

std::vector<TensorRule> StandardTensorRules() {
  using R = TensorRole;
  return {
      {R::kTokenEmbedding, "token_embd.weight", "model.embed_tokens.weight"},
      {R::kOutput, "output.weight", "lm_head.weight"},
      {R::kFinalNorm, "output_norm.weight", "model.norm.weight"},
      {R::kAttnNorm, "blk.#.attn_norm.weight", "model.layers.#.input_layernorm.weight"},
      {R::kAttnQ, "blk.#.attn_q.weight", "model.layers.#.self_attn.q_proj.weight"},
      {R::kAttnK, "blk.#.attn_k.weight", "model.layers.#.self_attn.k_proj.weight"},
      {R::kAttnV, "blk.#.attn_v.weight", "model.layers.#.self_attn.v_proj.weight"},
      {R::kAttnO, "blk.#.attn_output.weight", "model.layers.#.self_attn.o_proj.weight"},
      {R::kAttnQBias, "blk.#.attn_q.bias", "model.layers.#.self_attn.q_proj.bias"},
      {R::kAttnKBias, "blk.#.attn_k.bias", "model.layers.#.self_attn.k_proj.bias"},
      {R::kAttnVBias, "blk.#.attn_v.bias", "model.layers.#.self_attn.v_proj.bias"},
      {R::kAttnOBias, "blk.#.attn_output.bias", "model.layers.#.self_attn.o_proj.bias"},
      {R::kAttnQNorm, "blk.#.attn_q_norm.weight", "model.layers.#.self_attn.q_norm.weight"},
      {R::kAttnKNorm, "blk.#.attn_k_norm.weight", "model.layers.#.self_attn.k_norm.weight"},
      {R::kFfnNorm, "blk.#.ffn_norm.weight", "model.layers.#.post_attention_layernorm.weight"},
      {R::kFfnGate, "blk.#.ffn_gate.weight", "model.layers.#.mlp.gate_proj.weight"},
      {R::kFfnUp, "blk.#.ffn_up.weight", "model.layers.#.mlp.up_proj.weight"},
      {R::kFfnDown, "blk.#.ffn_down.weight", "model.layers.#.mlp.down_proj.weight"},
  };
}

std::string GgufTensorName(TensorRole role, uint32_t layer) {
  if (role == TensorRole::kAttnPostNorm)
    return TensorName("blk.#.post_attention_norm.weight", layer);
  if (role == TensorRole::kFfnPostNorm) return TensorName("blk.#.post_ffw_norm.weight", layer);
  for (const TensorRule& rule : StandardTensorRules()) {
    if (rule.role == role) return TensorName(rule.gguf, layer);
  }
  KVASIR_CHECK(false);
  return "";
}

bool IsPerLayer(TensorRole role) {
  return role != TensorRole::kTokenEmbedding && role != TensorRole::kOutput &&
         role != TensorRole::kFinalNorm;
}

bool NeedsTensor(const ModelSpec& spec, TensorRole role) {
  switch (role) {
    case TensorRole::kOutput:
      return !spec.tied_embeddings;
    case TensorRole::kAttnQBias:
    case TensorRole::kAttnKBias:
    case TensorRole::kAttnVBias:
      return spec.qkv_bias;
    case TensorRole::kAttnOBias:
      return spec.output_bias;
    case TensorRole::kAttnQNorm:
    case TensorRole::kAttnKNorm:
      return spec.qk_norm;
    case TensorRole::kAttnPostNorm:
    case TensorRole::kFfnPostNorm:
      return spec.post_norms;
    default:
      return true;
  }
}

TensorShape ExpectedShape(const ModelSpec& spec, TensorRole role) {
  const uint64_t hidden = spec.hidden_size, ffn = spec.ffn_size;
  const uint64_t q_width = uint64_t{spec.q_head_count} * spec.head_dim;
  const uint64_t kv_width = uint64_t{spec.kv_head_count} * spec.head_dim;
  switch (role) {
    case TensorRole::kTokenEmbedding:
    case TensorRole::kOutput:
      return {spec.vocab_size, hidden, false};
    case TensorRole::kAttnQ:
      return {q_width, hidden, false};
    case TensorRole::kAttnK:
    case TensorRole::kAttnV:
      return {kv_width, hidden, false};
    case TensorRole::kAttnO:
      return {hidden, q_width, false};
    case TensorRole::kAttnQBias:
      return {1, q_width, true};
    case TensorRole::kAttnKBias:
    case TensorRole::kAttnVBias:
      return {1, kv_width, true};
    case TensorRole::kAttnQNorm:
    case TensorRole::kAttnKNorm:
      return {1, spec.head_dim, true};
    case TensorRole::kFfnGate:
    case TensorRole::kFfnUp:
      return {ffn, hidden, false};
    case TensorRole::kFfnDown:
      return {hidden, ffn, false};
    default:  // norms over the hidden size and o's bias
      return {1, hidden, true};
  }
}

Result<std::map<std::pair<TensorRole, uint32_t>, TensorView>> MapTensors(
    const ModelSpec& spec, std::span<const TensorRule> rules, NameStyle style,
    std::span<const FileTensor> files) {
  NameList missing("missing tensors"), surplus("surplus tensors"), wrong("wrong tensors");
  std::map<std::string, const FileTensor*> unclaimed;
  for (const FileTensor& file : files) {
    const std::string name =
        style == NameStyle::kHuggingFace ? CanonicalHfName(file.name) : file.name;
    if (IsIgnorable(spec, name)) continue;
    if (!unclaimed.emplace(name, &file).second) surplus.Add(file.name);
  }
  std::map<std::pair<TensorRole, uint32_t>, TensorView> tensors;
  for (const TensorRule& rule : rules) {
    if (!NeedsTensor(spec, rule.role)) continue;
    const uint32_t layer_count = IsPerLayer(rule.role) ? spec.layer_count : 1;
    for (uint32_t layer = 0; layer < layer_count; ++layer) {
      const std::string name = TensorName(style == NameStyle::kGguf ? rule.gguf : rule.hf, layer);
      const auto it = unclaimed.find(name);
      if (it == unclaimed.end()) {
        missing.Add(name);
        continue;
      }
      const FileTensor& file = *it->second;
      unclaimed.erase(it);
      const TensorShape shape = ExpectedShape(spec, rule.role);
      if (!HasShape(file, shape)) {
        const uint64_t dims[] = {shape.rows, shape.cols};
        wrong.Add(file.name + " has shape " + ShapeText(file.shape) + " instead of " +
                  ShapeText(shape.is_vector ? std::span(dims).subspan(1) : std::span(dims)));
      } else if (!file.dtype.has_value()) {
        wrong.Add(file.name + " has the unsupported type " + file.type_name);
      } else {
        tensors[{rule.role, layer}] = {file.name, *file.dtype, shape.rows, shape.cols, file.bytes};
      }
    }
  }
  for (const auto& [name, file] : unclaimed) surplus.Add(file->name);

  std::string message;
  missing.AppendTo(&message);
  surplus.AppendTo(&message);
  wrong.AppendTo(&message);
  if (!message.empty()) return DataLoss("the file does not fit its own description, " + message);
  return tensors;
}

}  // namespace kvasir
