// Tiny random models for tests, written to memory or disk: a GGUF file and a Hugging Face directory
// of the same Llama-shaped network. The GGUF writer is also good for hostile files: fields and
// tensors are taken as they are given. For tests only; header-only, so that no library contains it.

#ifndef KVASIR_WEIGHTS_TESTING_TINY_MODEL_H_
#define KVASIR_WEIGHTS_TESTING_TINY_MODEL_H_

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/formats/dtype.h"
#include "kvasir/formats/gguf_quants.h"

namespace kvasir::testing {

// Collects entries and tensors, then lays out the file.
class GgufWriter {
 public:
  template <typename T>
  static void Append(std::string* out, T value) {
    out->append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void AppendString(std::string* out, std::string_view text) {
    Append<uint64_t>(out, text.size());
    out->append(text);
  }

  // An entry with the bytes of its value; `type` is GGUF's number.
  void Raw(std::string_view key, uint32_t type, std::string_view value) {
    AppendString(&entries_, key);
    Append<uint32_t>(&entries_, type);
    entries_.append(value);
    ++entry_count_;
  }
  void Uint(std::string_view key, uint32_t value) { Fixed(key, 4, value); }
  void Float(std::string_view key, float value) { Fixed(key, 6, value); }
  void Bool(std::string_view key, bool value) { Fixed<uint8_t>(key, 7, value); }
  void String(std::string_view key, std::string_view value) {
    std::string bytes;
    AppendString(&bytes, value);
    Raw(key, 8, bytes);
  }
  void Strings(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes;
    Append<uint32_t>(&bytes, 8);
    Append<uint64_t>(&bytes, values.size());
    for (const std::string& value : values) AppendString(&bytes, value);
    Raw(key, 9, bytes);
  }
  template <typename T>
  void Array(std::string_view key, uint32_t element_type, const std::vector<T>& values) {
    std::string bytes;
    Append<uint32_t>(&bytes, element_type);
    Append<uint64_t>(&bytes, values.size());
    for (const T& value : values) Append(&bytes, value);
    Raw(key, 9, bytes);
  }

  // `shape` outermost first; `type` is ggml's number. Data follows at the next multiple of 32.
  void Tensor(std::string_view name, const std::vector<uint64_t>& shape, uint32_t type,
              std::string_view bytes) {
    AppendString(&infos_, name);
    Append<uint32_t>(&infos_, static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;) Append<uint64_t>(&infos_, shape[i]);
    Append<uint32_t>(&infos_, type);
    Append<uint64_t>(&infos_, data_.size());
    data_.append(bytes);
    data_.resize((data_.size() + 31) / 32 * 32);
    ++tensor_count_;
  }

  std::string File() const {
    std::string out = "GGUF";
    Append<uint32_t>(&out, 3);
    Append<uint64_t>(&out, tensor_count_);
    Append<uint64_t>(&out, entry_count_);
    out += entries_ + infos_;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data_;
  }

 private:
  template <typename T>
  void Fixed(std::string_view key, uint32_t type, T value) {
    std::string bytes;
    Append(&bytes, value);
    Raw(key, type, bytes);
  }

  std::string entries_, infos_, data_;
  uint64_t entry_count_ = 0, tensor_count_ = 0;
};

// The network of both writers.
struct TinyShape {
  uint32_t layers = 2, hidden = 32, ffn = 64, heads = 2, kv_heads = 1, vocab = 40;
};

struct TinyTensor {
  std::string gguf_name, hf_name;
  std::vector<uint64_t> shape;  // outermost first
};

inline std::vector<TinyTensor> TinyTensors(const TinyShape& s) {
  const uint64_t head_dim = s.hidden / s.heads, kv = s.kv_heads * head_dim;
  std::vector<TinyTensor> tensors = {
      {"token_embd.weight", "model.embed_tokens.weight", {s.vocab, s.hidden}},
      {"output_norm.weight", "model.norm.weight", {s.hidden}}};
  for (uint32_t layer = 0; layer < s.layers; ++layer) {
    const std::string g = "blk." + std::to_string(layer) + ".";
    const std::string h = "model.layers." + std::to_string(layer) + ".";
    tensors.push_back({g + "attn_norm.weight", h + "input_layernorm.weight", {s.hidden}});
    tensors.push_back({g + "attn_q.weight", h + "self_attn.q_proj.weight", {s.hidden, s.hidden}});
    tensors.push_back({g + "attn_k.weight", h + "self_attn.k_proj.weight", {kv, s.hidden}});
    tensors.push_back({g + "attn_v.weight", h + "self_attn.v_proj.weight", {kv, s.hidden}});
    tensors.push_back(
        {g + "attn_output.weight", h + "self_attn.o_proj.weight", {s.hidden, s.hidden}});
    tensors.push_back({g + "ffn_norm.weight", h + "post_attention_layernorm.weight", {s.hidden}});
    tensors.push_back({g + "ffn_gate.weight", h + "mlp.gate_proj.weight", {s.ffn, s.hidden}});
    tensors.push_back({g + "ffn_up.weight", h + "mlp.up_proj.weight", {s.ffn, s.hidden}});
    tensors.push_back({g + "ffn_down.weight", h + "mlp.down_proj.weight", {s.hidden, s.ffn}});
  }
  return tensors;
}

// Random numbers of a tensor in the bytes of `dtype`.
inline std::string RandomTensor(const std::vector<uint64_t>& shape, DType dtype,
                                std::mt19937* random) {
  size_t count = 1;
  for (const uint64_t dimension : shape) count *= dimension;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = static_cast<float>((*random)() % 2001) / 10000.0f - 0.1f;
  std::string bytes(DTypeBytes(dtype, count), '\0');
  QuantizeRow(dtype, numbers.data(), count, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

// All but the tensors: the fields of a Llama and a small byte-level vocabulary.
inline GgufWriter TinyGgufFields(const TinyShape& s) {
  GgufWriter writer;
  writer.String("general.architecture", "llama");
  writer.String("general.name", "tiny");
  writer.Uint("llama.block_count", s.layers);
  writer.Uint("llama.context_length", 256);
  writer.Uint("llama.embedding_length", s.hidden);
  writer.Uint("llama.feed_forward_length", s.ffn);
  writer.Uint("llama.attention.head_count", s.heads);
  writer.Uint("llama.attention.head_count_kv", s.kv_heads);
  writer.Float("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.Float("llama.rope.freq_base", 10000);
  std::vector<std::string> tokens = {"<s>", "</s>"};
  while (tokens.size() < s.vocab) tokens.push_back("t" + std::to_string(tokens.size()));
  std::vector<int32_t> types(s.vocab, 1);
  types[0] = types[1] = 3;
  writer.String("tokenizer.ggml.model", "gpt2");
  writer.String("tokenizer.ggml.pre", "gpt-2");
  writer.Strings("tokenizer.ggml.tokens", tokens);
  writer.Array("tokenizer.ggml.token_type", 5, types);
  writer.Strings("tokenizer.ggml.merges", {"t 1", "t 2"});
  writer.Uint("tokenizer.ggml.bos_token_id", 0);
  writer.Uint("tokenizer.ggml.eos_token_id", 1);
  writer.String("tokenizer.chat_template", "{{ messages[0].content }}");
  return writer;
}

// A GGUF file that opens: embedding Q8_0, matrices Q4_1, norms F32, embeddings tied.
inline std::string TinyGguf(const TinyShape& s = {}, uint32_t seed = 1) {
  std::mt19937 random(seed);
  GgufWriter writer = TinyGgufFields(s);
  for (const TinyTensor& tensor : TinyTensors(s)) {
    const bool embedding = tensor.gguf_name == "token_embd.weight";
    const DType dtype = tensor.shape.size() == 1 ? DType::kF32
                        : embedding              ? DType::kQ8_0
                                                 : DType::kQ4_1;
    const uint32_t type = tensor.shape.size() == 1 ? 0 : embedding ? 8 : 3;
    writer.Tensor(tensor.gguf_name, tensor.shape, type, RandomTensor(tensor.shape, dtype, &random));
  }
  return writer.File();
}

// The bytes of a safetensors file with all tensors in BF16.
inline std::string TinySafetensors(const TinyShape& s = {}, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
  for (const TinyTensor& tensor : TinyTensors(s)) {
    std::string shape;
    for (const uint64_t dimension : tensor.shape) {
      shape += (shape.empty() ? "" : ",") + std::to_string(dimension);
    }
    const size_t begin = data.size();
    data += RandomTensor(tensor.shape, DType::kBF16, &random);
    header += ",\"" + tensor.hf_name + "\":{\"dtype\":\"BF16\",\"shape\":[" + shape +
              "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) +
              "]}";
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string out;
  GgufWriter::Append<uint64_t>(&out, header.size());
  return out + header + data;
}

inline std::string TinyHfConfig(const TinyShape& s = {}) {
  const auto number = [](uint32_t value) { return std::to_string(value); };
  return "{\"model_type\":\"llama\",\"num_hidden_layers\":" + number(s.layers) +
         ",\"hidden_size\":" + number(s.hidden) + ",\"intermediate_size\":" + number(s.ffn) +
         ",\"num_attention_heads\":" + number(s.heads) +
         ",\"num_key_value_heads\":" + number(s.kv_heads) + ",\"vocab_size\":" + number(s.vocab) +
         ",\"max_position_embeddings\":256,\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,"
         "\"tie_word_embeddings\":true,\"bos_token_id\":0,\"eos_token_id\":1,"
         "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0}}";
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  // A new file each time: ext4 flushes one that is truncated and written again, which is slow.
  std::error_code error;
  std::filesystem::remove(path, error);
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A directory of the test's own below the system's temporary one, removed with the object.
class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "kvasir-XXXXXX").string();
    path_ = mkdtemp(path.data()) == nullptr ? "" : path;
  }
  ~TempDir() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::filesystem::path operator/(std::string_view name) const {
    return std::filesystem::path(path_) / name;
  }
  std::string path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace kvasir::testing

#endif  // KVASIR_WEIGHTS_TESTING_TINY_MODEL_H_
