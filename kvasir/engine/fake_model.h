// FakeModel: a network for the tests of the engine. Its keys and values are the tokens and
// positions themselves, written into the pages through the block layout, and the logits of a row
// are a hash of the tokens that it reads back from the pages of its sequence. A wrong block table,
// position, page length or a page that somebody else wrote changes the answer. Not thread-safe,
// like any Model.

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
  KvBlockLayout KvLayout(KvFormat format) const override;
  // Adds a test failure for a batch that breaks a promise of model/batch.h.
  Status Forward(const Batch& batch, MatrixView<float> logits) override;

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
