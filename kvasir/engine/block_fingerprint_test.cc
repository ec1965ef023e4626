#include "kvasir/engine/block_fingerprint.h"

#include <functional>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/fake_model.h"
#include "kvasir/engine/memory_plan.h"

namespace kvasir {
namespace {

ModelSpec Spec() {
  ModelSpec spec;
  spec.family = "llama";
  spec.layer_count = 2;
  spec.rope = {.rotary_dim = 4, .inverse_frequency = {1, 0.5f}, .description = "theta"};
  spec.sliding_rope = spec.rope;
  spec.layer_is_sliding = {false, true};
  return spec;
}

Digest Of(const ModelSpec& spec) {
  return BlockFingerprint(spec, {2, 1, 4, KvFormat::kBF16}, "weights", "fma-16");
}

// Everything that changes keys and values changes the fingerprint.
TEST(BlockFingerprint, DiffersWhenAnythingDoes) {
  const std::vector<std::function<void(ModelSpec&)>> changes = {
      [](ModelSpec& s) { s.family = "qwen2"; },
      [](ModelSpec& s) { s.layer_count = 3; },
      [](ModelSpec& s) { s.hidden_size = 1; },
      [](ModelSpec& s) { s.ffn_size = 1; },
      [](ModelSpec& s) { s.q_head_count = 1; },
      [](ModelSpec& s) { s.kv_head_count = 1; },
      [](ModelSpec& s) { s.head_dim = 1; },
      [](ModelSpec& s) { s.vocab_size = 1; },
      [](ModelSpec& s) { s.rms_norm_eps = 1e-6f; },
      [](ModelSpec& s) { s.activation = Activation::kGeluTanh; },
      [](ModelSpec& s) { s.qkv_bias = true; },
      [](ModelSpec& s) { s.output_bias = true; },
      [](ModelSpec& s) { s.qk_norm = true; },
      [](ModelSpec& s) { s.post_norms = true; },
      [](ModelSpec& s) { s.norm_weight_offset = 1; },
      [](ModelSpec& s) { s.embedding_scale = 2; },
      [](ModelSpec& s) { s.attention_scale = 2; },
      [](ModelSpec& s) { s.attention_soft_cap = 2; },
      [](ModelSpec& s) { s.rope_rows_interleaved = true; },
      [](ModelSpec& s) { s.rope.rotary_dim = 2; },
      [](ModelSpec& s) { s.rope.inverse_frequency[1] = 0.25f; },
      [](ModelSpec& s) { s.sliding_rope.inverse_frequency[1] = 0.25f; },
      [](ModelSpec& s) { s.sliding_window = 512; },
      [](ModelSpec& s) { s.sliding_window = 1024; },
  };
  std::set<Digest> fingerprints = {Of(Spec())};
  for (const auto& change : changes) {
    ModelSpec spec = Spec();
    change(spec);
    EXPECT_TRUE(fingerprints.insert(Of(spec)).second) << "change " << fingerprints.size();
  }
  const KvBlockLayout layout = {2, 1, 4, KvFormat::kBF16};
  const KvBlockLayout exact = {2, 1, 4, KvFormat::kF32};
  const KvBlockLayout shallow = {1, 1, 4, KvFormat::kBF16};
  const KvBlockLayout int8 = {2, 1, 4, KvFormat::kInt8};
  const KvBlockLayout k8v4 = {2, 1, 4, {KvFormat::kInt8, KvFormat::kInt4}};
  KvBlockLayout unrotated = int8;
  unrotated.rotated = false;
  KvBlockLayout in_twos = int8;
  in_twos.open_blocks = 2;
  const KvFormats layers[] = {KvFormat::kInt8, KvFormat::kInt4};
  const KvBlockLayout mixed = MixedKvLayout(int8, layers);
  EXPECT_TRUE(fingerprints.insert(BlockFingerprint(Spec(), exact, "weights", "fma-16")).second);
  EXPECT_TRUE(fingerprints.insert(BlockFingerprint(Spec(), shallow, "weights", "fma-16")).second);
  for (const KvBlockLayout& quantised : {int8, k8v4, unrotated, in_twos, mixed}) {
    EXPECT_TRUE(
        fingerprints.insert(BlockFingerprint(Spec(), quantised, "weights", "fma-16")).second);
  }
  EXPECT_TRUE(fingerprints.insert(BlockFingerprint(Spec(), layout, "others", "fma-16")).second);
  EXPECT_TRUE(fingerprints.insert(BlockFingerprint(Spec(), layout, "weights", "sse-16")).second);
}

// An engine with rotation never finds blocks of one without; where nothing is rotated the switch
// says nothing about the bytes.
TEST(BlockFingerprint, TheEnginesRotationSwitchCountsWhereItRotates) {
  FakeModel model;
  model.SetShape(2, 1, 64);
  const auto of = [&](KvFormats format, bool rotation) {
    const auto layout = KvLayoutFor(model, {.kv_format = format, .kv_rotation = rotation});
    return BlockFingerprint(model.spec(), layout.value(), "weights", "fma-16");
  };
  for (const KvFormat format : kKvFormats) {
    EXPECT_EQ(of(format, true) == of(format, false), !IsInteger(format)) << KvFormatName(format);
  }
  EXPECT_NE(of({KvFormat::kBF16, KvFormat::kInt8}, true),
            of({KvFormat::kBF16, KvFormat::kInt8}, false));
}

TEST(BlockFingerprint, NamesAndDescriptionsDoNotCount) {
  ModelSpec spec = Spec();
  spec.name = "another name of the same weights";
  spec.rope.description = "the same angles in other words";
  spec.context_length = 77;
  spec.logit_soft_cap = 30;
  EXPECT_EQ(Of(spec), Of(Spec()));
}

}  // namespace
}  // namespace kvasir
