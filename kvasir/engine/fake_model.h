// FakeModel: a network for the tests of the engine. Its keys and values are the tokens and
// positions themselves, written into the pages through the block layout, and the logits of a row
// are a hash of the tokens that it reads back from the pages of its sequence. A wrong block table,
// position, page length or a page that somebody else wrote changes the answer. In quantised layouts
// it keeps to OpenKv: rows go to the open blocks, and what is complete is copied to the pages. Not
// thread-safe, like any Model.

#ifndef KVASIR_ENGINE_FAKE_MODEL_H_
#define KVASIR_ENGINE_FAKE_MODEL_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/formats/token_id.h"
#include "kvasir/model/model.h"

namespace kvasir {

class FakeModel final : public Model {
 public:
  explicit FakeModel(uint32_t context_length = 256, size_t row_count_max = 512);

  const ModelSpec& spec() const override { return spec_; }
  size_t weight_bytes() const override { return 1000; }
  size_t ActivationBytes(size_t row_count, size_t logit_row_count) const override {
    return 100 * row_count + 10 * logit_row_count;
  }
  size_t row_count_max() const override { return row_count_max_; }
  KvBlockLayout KvLayout(KvFormats formats) const override;
  // Adds a test failure for a batch that breaks a promise of model/batch.h.
  Status Forward(const Batch& batch, MatrixView<float> logits) override;

  // Keys and values of another size, of which it writes as little: for plans of memory. REQUIRES
  // two layers and two heads at least.
  void SetShape(uint32_t layer_count, uint32_t kv_head_count, uint32_t head_dim) {
    spec_.layer_count = layer_count;
    spec_.kv_head_count = spec_.q_head_count = kv_head_count;
    spec_.head_dim = head_dim;
  }

  // What Forward computes for the last of `tokens`, without pages.
  static std::vector<float> LogitsAfter(std::span<const TokenId> tokens);

  // Called at the start of each Forward; a failing status is returned before anything is written.
  std::function<Status(const Batch&)> on_forward;

 private:
  ModelSpec spec_;
  size_t row_count_max_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_FAKE_MODEL_H_
