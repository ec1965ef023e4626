// ModelSpec: what a network is, as numbers and switches, whatever file it came from. Every family
// that Kvasir knows is the same decoder with other switches (weights/families/ fills them in), so
// that model/ has one forward pass to read.

#ifndef KVASIR_WEIGHTS_MODEL_SPEC_H_
#define KVASIR_WEIGHTS_MODEL_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

namespace kvasir {

enum class Activation : uint8_t { kSilu, kGeluTanh };

// Rotary position embedding: the angle of pair i at position p is p * inverse_frequency[i], i <
// rotary_dim / 2 (Su et al. 2021, arXiv 2104.09864). Scaling (linear, llama3) is already inside the
// frequencies.
struct RopeSpec {
  uint32_t rotary_dim = 0;  // leading dims of a head that turn; the rest pass through
  float theta = 0;          // unscaled, pair i has the frequency theta^(-2i/rotary_dim)
  std::vector<float> inverse_frequency;  // [rotary_dim / 2], radians per position
  std::string description;               // "theta 500000, llama3 x8", for `kvasir info`
};

struct ModelSpec {
  std::string family;  // "llama", "mistral", "qwen2", "qwen3", "gemma3"
  std::string name;    // as the file calls itself; may be empty

  uint32_t layer_count = 0;
  uint32_t hidden_size = 0;
  uint32_t ffn_size = 0;
  uint32_t q_head_count = 0;
  uint32_t kv_head_count = 0;  // divides q_head_count
  uint32_t head_dim = 0;
  uint32_t vocab_size = 0;
  uint32_t context_length = 0;  // tokens the model was made for

  float rms_norm_eps = 1e-5f;
  Activation activation = Activation::kSilu;
  bool qkv_bias = false;     // q, k and v have biases (Qwen2)
  bool output_bias = false;  // o has a bias (some Llama variants)
  bool qk_norm = false;      // RMSNorm over each head of q and k before RoPE (Qwen3, Gemma 3)
  bool post_norms =
      false;  // RMSNorm after attention and after the MLP, before the residual (Gemma)
  float norm_weight_offset =
      0;  // added to every RMSNorm weight: 1 where a file stores w for x * (1 + w) (HF Gemma)
  float embedding_scale = 1;     // multiplies the embedding row (sqrt(hidden_size) in Gemma)
  float attention_scale = 0;     // multiplies q.k before softmax
  float attention_soft_cap = 0;  // cap * tanh(x / cap) on attention logits; 0 = off
  float logit_soft_cap = 0;      // the same on output logits; 0 = off
  bool tied_embeddings = false;  // the output matrix is the embedding

  RopeSpec rope;
  // Sliding-window layers: a token sees itself and the sliding_window - 1 tokens before it. Their
  // RoPE may differ.
  uint32_t sliding_window = 0;         // tokens; 0 = no layer slides
  std::vector<bool> layer_is_sliding;  // [layer_count] or empty
  RopeSpec sliding_rope;  // used by sliding layers; equals `rope` unless the family says otherwise

  // True when the rows of q and k are permuted so that a RoPE pair is (2i, 2i+1) (GGUF files of
  // llama and mistral). Kvasir rotates (i, i + rotary_dim/2) and undoes the permutation while it
  // packs the weights.
  bool rope_rows_interleaved = false;

  bool IsSliding(uint32_t layer) const {
    return sliding_window > 0 && layer < layer_is_sliding.size() && layer_is_sliding[layer];
  }
  uint32_t group_size() const { return q_head_count / kv_head_count; }
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_MODEL_SPEC_H_
