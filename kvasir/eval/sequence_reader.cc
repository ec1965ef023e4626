#include "kvasir/eval/sequence_reader.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/open_kv.h"

namespace kvasir {

SequenceReader::SequenceReader(Model& model, std::unique_ptr<BlockPool> pool,
                               std::optional<BlockSummaries> summaries)
    : model_(model), pool_(std::move(pool)), summaries_(std::move(summaries)) {}

Result<std::unique_ptr<SequenceReader>> SequenceReader::Create(Model& model, KvFormats formats,
                                                               size_t token_count) {
  const size_t block_count = (token_count + kKvBlockTokens - 1) / kKvBlockTokens;
  KVASIR_ASSIGN_OR_RETURN(const KvBlockLayout layout, KvLayoutFor(model, {.kv_format = formats}));
  const OpenBlockCounts open =
      OpenBlockCounts::For(layout, model.row_count_max(), kSequenceCountMax);
  KVASIR_ASSIGN_OR_RETURN(auto pool, BlockPool::Create(layout, block_count, open));
  std::optional<BlockSummaries> summaries;
  if (!layout.quantized()) {
    KVASIR_ASSIGN_OR_RETURN(summaries, BlockSummaries::Create(layout, block_count));
  }
  return std::unique_ptr<SequenceReader>(
      new SequenceReader(model, std::move(pool), std::move(summaries)));
}

Status SequenceReader::Read(std::span<const TokenId> tokens, size_t chunk_tokens,
                            BlockTable& sequence, std::span<float> logits) {
  for (size_t begin = 0; begin < tokens.size(); begin += chunk_tokens) {
    const size_t count = std::min(chunk_tokens, tokens.size() - begin);
    KVASIR_RETURN_IF_ERROR(Forward(tokens.subspan(begin, count), {}, sequence, logits));
  }
  return OkStatus();
}

Status SequenceReader::Decode(TokenId token, const DecodeReading& reading, BlockTable& sequence,
                              std::span<float> logits) {
  return Forward({&token, 1}, reading, sequence, logits);
}

Status SequenceReader::Forward(std::span<const TokenId> tokens, const DecodeReading& reading,
                               BlockTable& sequence, std::span<float> logits) {
  std::vector<int32_t> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(sequence.token_count()));
  KVASIR_RETURN_IF_ERROR(sequence.Extend(tokens.size()));
  const int32_t last_row = static_cast<int32_t>(tokens.size()) - 1;
  const int32_t qo_indptr[2] = {0, static_cast<int32_t>(tokens.size())};
  const int32_t kv_indptr[2] = {0, static_cast<int32_t>(sequence.blocks().size())};
  const int32_t last_page_len = static_cast<int32_t>(sequence.last_block_token_count());
  Batch batch;
  batch.tokens = tokens;
  batch.positions = positions;
  batch.qo_indptr = qo_indptr;
  batch.kv.layout = pool_->layout();
  batch.kv.base = pool_->base();
  batch.kv.page_count = pool_->block_count();
  batch.kv.kv_indptr = kv_indptr;
  batch.kv.kv_indices = sequence.blocks();
  batch.kv.kv_last_page_len = {&last_page_len, 1};
  OwnBlocks own;
  own.Add(sequence, tokens.size());
  batch.kv.open = OpenKvOf(*pool_, own);
  batch.logit_rows = {&last_row, 1};
  batch.block_select.options.budget_blocks =
      static_cast<int32_t>(reading.budget_tokens / kKvBlockTokens);
  batch.block_select.full_layer_count = reading.full_layer_count;
  batch.block_select.summaries = summaries_ ? &*summaries_ : nullptr;
  batch.block_select.page_allocations = pool_->allocation_counts();
  return model_.Forward(batch, MatrixView<float>(logits.data(), 1, logits.size()));
}

}  // namespace kvasir
