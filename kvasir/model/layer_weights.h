// LayerWeights: the packed weights of one transformer layer and of the whole network, as
// load_model.cc makes them and the layer files read them. Owned by the model; immutable after
// loading.

#ifndef KVASIR_MODEL_LAYER_WEIGHTS_H_
#define KVASIR_MODEL_LAYER_WEIGHTS_H_

#include <vector>

#include "kvasir/kernels/packed_weights.h"

namespace kvasir {

// A vector that the family does not have is empty. Norm weights include the family's offset.
struct LayerWeights {
  std::vector<float> attn_norm;       // [hidden]
  PackedWeights q;                    // [q_heads * head_dim, hidden]
  PackedWeights k;                    // [kv_heads * head_dim, hidden]
  PackedWeights v;                    // [kv_heads * head_dim, hidden]
  std::vector<float> q_bias;          // [q_heads * head_dim]
  std::vector<float> k_bias;          // [kv_heads * head_dim]
  std::vector<float> v_bias;          // [kv_heads * head_dim]
  std::vector<float> q_norm;          // [head_dim]
  std::vector<float> k_norm;          // [head_dim]
  PackedWeights o;                    // [hidden, q_heads * head_dim]
  std::vector<float> o_bias;          // [hidden]
  std::vector<float> attn_post_norm;  // [hidden]

  std::vector<float> ffn_norm;       // [hidden]
  PackedWeights gate;                // [ffn, hidden]
  PackedWeights up;                  // [ffn, hidden]
  PackedWeights down;                // [hidden, ffn]
  std::vector<float> ffn_post_norm;  // [hidden]
};

struct NetworkWeights {
  PackedWeights embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden]
  PackedWeights output;           // [vocab, hidden]; empty when tied to the embedding
  size_t byte_count = 0;          // of everything above
};

}  // namespace kvasir

#endif  // KVASIR_MODEL_LAYER_WEIGHTS_H_
