#include "kvasir/weights/gguf_description.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string_view>

#include "kvasir/base/mapped_file.h"
#include "kvasir/formats/float16.h"
#include "kvasir/weights/gguf.h"

namespace kvasir {

namespace {

// Of the layout of quantised blocks: ggml has had this one since 2023.
constexpr uint32_t kQuantizationVersion = 2;

// Keys that describe the numbers of the source, not the network.
bool IsReplaced(std::string_view key) {
  return key == "general.file_type" || key == "general.quantization_version" ||
         key == "general.alignment" || key.starts_with("split.") ||
         key.starts_with("quantize.imatrix.");
}

void AddFileType(uint32_t file_type, GgufMetadata* metadata) {
  metadata->Uint("general.quantization_version", kQuantizationVersion);
  metadata->Uint("general.file_type", file_type);
}

Result<GgufDescription> CopyOfGguf(const std::string& path, uint32_t file_type) {
  KVASIR_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::Open(path));
  KVASIR_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Parse(mapped.bytes()));
  GgufDescription description;
  for (const GgufEntry& entry : file.entries()) {
    if (!IsReplaced(entry.key)) description.metadata.Copy(entry);
  }
  AddFileType(file_type, &description.metadata);
  const FileTensor* freqs = file.FindTensor("rope_freqs.weight");
  if (freqs == nullptr || freqs->dtype != DType::kF32) return description;
  for (size_t i = 0; i < freqs->bytes.size(); i += sizeof(float)) {
    description.rope_freqs.push_back(LoadF32(freqs->bytes.data() + i));
  }
  return description;
}

// The checkpoint's rows of q or k in the order in which RoPE pairs are neighbours.
std::vector<uint32_t> InterleavedRows(uint32_t head_count, uint32_t head_dim, uint32_t rotary_dim) {
  std::vector<uint32_t> order(size_t{head_count} * head_dim);
  const uint32_t half = rotary_dim / 2;
  for (uint32_t h = 0; h < head_count; ++h) {
    for (uint32_t i = 0; i < head_dim; ++i) {
      const uint32_t source = i < rotary_dim ? i / 2 + i % 2 * half : i;
      order[h * head_dim + i] = h * head_dim + source;
    }
  }
  return order;
}

// What divides the unscaled frequencies, [rotary_dim / 2].
std::vector<float> Divisors(const RopeSpec& rope) {
  std::vector<float> divisors;
  for (size_t i = 0; i < rope.inverse_frequency.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope.rotary_dim);
    divisors.push_back(1.0f / std::pow(rope.theta, exponent) / rope.inverse_frequency[i]);
  }
  return divisors;
}

// Below the rounding of a frequency nothing has been scaled.
bool IsNear(float a, float b) { return std::fabs(a - b) <= 1e-6f * std::fabs(b); }

// The description of a checkpoint that did not come from GGUF.
class Describer {
 public:
  Describer(const ModelSpec& spec, const TokenizerData& vocabulary)
      : spec_(spec),
        vocabulary_(vocabulary),
        architecture_(spec.family == "mistral" ? "llama" : spec.family) {}

  Result<GgufDescription> Describe(std::string_view name, uint32_t file_type) {
    KVASIR_RETURN_IF_ERROR(CheckArchitecture());
    metadata().String("general.architecture", architecture_);
    metadata().String("general.type", "model");
    metadata().String("general.name", name);
    AddFileType(file_type, &metadata());
    AddSizes();
    AddRope();
    AddWindow();
    AddScales();
    AddVocabulary();
    if (architecture_ == "llama") {
      description_.q_row_order =
          InterleavedRows(spec_.q_head_count, spec_.head_dim, spec_.rope.rotary_dim);
      description_.k_row_order =
          InterleavedRows(spec_.kv_head_count, spec_.head_dim, spec_.rope.rotary_dim);
    }
    description_.norm_weight_offset = spec_.norm_weight_offset;
    return std::move(description_);
  }

 private:
  GgufMetadata& metadata() { return description_.metadata; }
  std::string Key(std::string_view key) const { return architecture_ + "." + std::string(key); }
  void Uint(std::string_view key, uint32_t value) { metadata().Uint(Key(key), value); }
  void Float(std::string_view key, float value) { metadata().Float(Key(key), value); }

  // What the reader of the architecture would not find again.
  Status CheckArchitecture() const {
    const bool has_window =
        std::any_of(spec_.layer_is_sliding.begin(), spec_.layer_is_sliding.end(),
                    [](bool slides) { return slides; });
    const std::string of = ", which GGUF's architecture " + architecture_ + " has no place for";
    if (has_window && (architecture_ == "qwen2" || architecture_ == "qwen3")) {
      return Unimplemented("the model has sliding-window layers" + of);
    }
    if ((spec_.qkv_bias || spec_.output_bias) &&
        (architecture_ == "qwen3" || architecture_ == "gemma3")) {
      return Unimplemented("the model has biases in its attention" + of);
    }
    return OkStatus();
  }

  void AddSizes() {
    Uint("vocab_size", spec_.vocab_size);
    Uint("context_length", spec_.context_length);
    Uint("embedding_length", spec_.hidden_size);
    Uint("block_count", spec_.layer_count);
    Uint("feed_forward_length", spec_.ffn_size);
    Uint("attention.head_count", spec_.q_head_count);
    Uint("attention.head_count_kv", spec_.kv_head_count);
    Uint("attention.key_length", spec_.head_dim);
    Uint("attention.value_length", spec_.head_dim);
    Float("attention.layer_norm_rms_epsilon", spec_.rms_norm_eps);
  }

  void AddRope() {
    Uint("rope.dimension_count", spec_.rope.rotary_dim);
    Float("rope.freq_base", spec_.rope.theta);
    const std::vector<float> divisors = Divisors(spec_.rope);
    if (divisors.empty()) return;
    const bool uniform = std::all_of(divisors.begin(), divisors.end(),
                                     [&](float divisor) { return IsNear(divisor, divisors[0]); });
    if (!uniform) {
      description_.rope_freqs = divisors;
    } else if (!IsNear(divisors[0], 1)) {
      metadata().String(Key("rope.scaling.type"), "linear");
      Float("rope.scaling.factor", divisors[0]);
    }
  }

  void AddWindow() {
    if (spec_.sliding_window == 0) return;
    Uint("attention.sliding_window", spec_.sliding_window);
    if (architecture_ != "gemma3") return;
    Float("rope.freq_base_swa", spec_.sliding_rope.theta);
    // A period where there is one, which llama.cpp reads as well, else a switch for each layer.
    const std::vector<bool>& slides = spec_.layer_is_sliding;
    const auto first_full = std::find(slides.begin(), slides.end(), false);
    const size_t period = static_cast<size_t>(first_full - slides.begin()) + 1;
    bool periodic = true;
    for (size_t layer = 0; layer < slides.size(); ++layer) {
      periodic = periodic && slides[layer] == ((layer + 1) % period != 0);
    }
    if (periodic) {
      Uint("attention.sliding_window_pattern", static_cast<uint32_t>(period));
    } else {
      metadata().Bools(Key("attention.sliding_window_pattern"), slides);
    }
  }

  void AddScales() {
    if (architecture_ != "gemma3") return;
    Float("attention.scale", spec_.attention_scale);
    if (spec_.attention_soft_cap > 0) Float("attn_logit_softcapping", spec_.attention_soft_cap);
    if (spec_.logit_soft_cap > 0) Float("final_logit_softcapping", spec_.logit_soft_cap);
  }

  void AddId(std::string_view key, TokenId id) {
    if (id != kNoToken) {
      metadata().Uint("tokenizer.ggml." + std::string(key), static_cast<uint32_t>(id));
    }
  }

  void AddVocabulary() {
    const TokenizerData& v = vocabulary_;
    if (v.tokens.empty()) {
      metadata().String("tokenizer.ggml.model", "none");
      return;
    }
    metadata().String("tokenizer.ggml.model", v.model);
    metadata().String("tokenizer.ggml.pre", v.pre);
    metadata().Strings("tokenizer.ggml.tokens", v.tokens);
    if (!v.scores.empty()) metadata().Floats("tokenizer.ggml.scores", v.scores);
    std::vector<int32_t> types;
    for (const TokenType type : v.types) types.push_back(static_cast<int32_t>(type));
    metadata().Ints("tokenizer.ggml.token_type", types);
    if (!v.merges.empty()) metadata().Strings("tokenizer.ggml.merges", v.merges);
    AddId("bos_token_id", v.bos);
    AddId("eos_token_id", v.eos);
    AddId("unknown_token_id", v.unk);
    AddId("padding_token_id", v.pad);
    // Further ends of an answer have two names in GGUF; the well-known ones need none.
    std::vector<TokenId> ends;
    for (const TokenId id : v.end_of_generation) {
      if (id != v.eos) ends.push_back(id);
    }
    AddId("eot_token_id", ends.empty() ? kNoToken : ends[0]);
    AddId("eom_token_id", ends.size() < 2 ? kNoToken : ends[1]);
    metadata().Bool("tokenizer.ggml.add_bos_token", v.add_bos);
    metadata().Bool("tokenizer.ggml.add_eos_token", v.add_eos);
    if (v.model != "gpt2") metadata().Bool("tokenizer.ggml.add_space_prefix", v.add_space_prefix);
    if (!v.chat_template.empty()) metadata().String("tokenizer.chat_template", v.chat_template);
    for (const auto& [name, text] : v.named_chat_templates) {
      metadata().String("tokenizer.chat_template." + name, text);
    }
  }

  const ModelSpec& spec_;
  const TokenizerData& vocabulary_;
  std::string architecture_;
  GgufDescription description_;
};

}  // namespace

Result<GgufDescription> DescribeAsGguf(const Checkpoint& checkpoint,
                                       const TokenizerData& vocabulary, uint32_t file_type) {
  std::error_code error;
  std::filesystem::path path(checkpoint.path());
  if (!std::filesystem::is_directory(path, error)) {
    return CopyOfGguf(checkpoint.path(), file_type);
  }
  if (!path.has_filename()) path = path.parent_path();
  const std::string& name = checkpoint.spec().name;
  return Describer(checkpoint.spec(), vocabulary)
      .Describe(name.empty() ? path.filename().string() : name, file_type);
}

}  // namespace kvasir
