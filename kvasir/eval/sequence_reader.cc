#include "kvasir/eval/sequence_reader.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "kvasir/engine/open_kv.h"

namespace kvasir {

namespace {

// All rows of a piece want their logits at once: 512 rows of a vocabulary of 262,144 would be 512
// MiB. 64 MiB leave 341 rows at 49,152 tokens and 64 at 262,144, enough for a GEMM at full speed.
constexpr size_t kLogitsBytesMax = size_t{64} << 20;

}  // namespace

Result<std::unique_ptr<SequenceReader>> SequenceReader::Create(Model& model,
                                                               const KvBlockLayout& layout,
                                                               size_t token_count) {
  const size_t block_count = (token_count + kKvBlockTokens - 1) / kKvBlockTokens;
  const OpenBlockCounts open =
      OpenBlockCounts::For(layout, model.row_count_max(), kSequenceCountMax);
  KVASIR_ASSIGN_OR_RETURN(auto pool, BlockPool::Create(layout, block_count, open));
  return std::unique_ptr<SequenceReader>(new SequenceReader(model, std::move(pool)));
}

Status SequenceReader::Read(std::span<const TokenId> tokens, size_t chunk_tokens,
                            BlockTable& sequence, std::span<float> logits) {
  for (size_t begin = 0; begin < tokens.size(); begin += chunk_tokens) {
    const size_t count = std::min(chunk_tokens, tokens.size() - begin);
    const bool is_last = begin + count == tokens.size() && !logits.empty();
    KVASIR_RETURN_IF_ERROR(Forward(tokens.subspan(begin, count), {}, sequence,
                                   MatrixView<float>(logits.data(), is_last, logits.size())));
  }
  return OkStatus();
}

Status SequenceReader::ReadPiece(std::span<const TokenId> tokens, BlockTable& sequence,
                                 MatrixView<float> logits) {
  return Forward(tokens, {}, sequence, logits);
}

Status SequenceReader::ReadAll(std::span<const TokenId> tokens, BlockTable& sequence,
                               MatrixView<float> logits,
                               FunctionRef<void(size_t first, MatrixView<float> rows)> show) {
  for (size_t begin = 0; begin < tokens.size(); begin += logits.rows()) {
    const size_t count = std::min(logits.rows(), tokens.size() - begin);
    const MatrixView<float> rows = logits.Rows(0, count);
    KVASIR_RETURN_IF_ERROR(ReadPiece(tokens.subspan(begin, count), sequence, rows));
    show(begin, rows);
  }
  return OkStatus();
}

Status SequenceReader::Decode(TokenId token, const DecodeReading& reading, BlockTable& sequence,
                              std::span<float> logits) {
  return Forward({&token, 1}, reading, sequence,
                 MatrixView<float>(logits.data(), 1, logits.size()));
}

Status SequenceReader::Forward(std::span<const TokenId> tokens, const DecodeReading& reading,
                               BlockTable& sequence, MatrixView<float> logits) {
  if (reading.budget_tokens > 0 && !summaries_) {
    if (pool_->layout().quantized()) {
      return InvalidArgument("blocks of quantised keys cannot be selected");
    }
    KVASIR_ASSIGN_OR_RETURN(summaries_,
                            BlockSummaries::Create(pool_->layout(), pool_->block_count()));
  }
  std::vector<int32_t> positions(tokens.size()), logit_rows(logits.rows());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(sequence.token_count()));
  std::iota(logit_rows.begin(), logit_rows.end(),
            static_cast<int32_t>(tokens.size() - logits.rows()));
  KVASIR_RETURN_IF_ERROR(sequence.Extend(tokens.size()));
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
  batch.logit_rows = logit_rows;
  if (summaries_) {
    batch.block_select.options.budget_blocks =
        static_cast<int32_t>(reading.budget_tokens / kKvBlockTokens);
    batch.block_select.full_layer_count = reading.full_layer_count;
    batch.block_select.summaries = &*summaries_;
    batch.block_select.page_allocations = pool_->allocation_counts();
  }
  return model_.Forward(batch, logits);
}

Result<LogitRows> LogitRows::Create(const Model& model, size_t chunk_tokens) {
  const size_t vocab_size = model.spec().vocab_size, row_bytes = vocab_size * sizeof(float);
  const size_t rows = std::min(
      {chunk_tokens, model.row_count_max(), std::max<size_t>(1, kLogitsBytesMax / row_bytes)});
  LogitRows made;
  KVASIR_ASSIGN_OR_RETURN(made.buffer_, AlignedBuffer::Allocate(rows * row_bytes));
  made.view_ = MatrixView<float>(made.buffer_.as<float>(), rows, vocab_size);
  return made;
}

Status CheckTokens(const Model& model, std::span<const TokenId> tokens) {
  const size_t vocab_size = model.spec().vocab_size;
  for (const TokenId token : tokens) {
    if (token < 0 || static_cast<size_t>(token) >= vocab_size) {
      return InvalidArgument("the text has token " + std::to_string(token) +
                             ", outside the model's vocabulary of " + std::to_string(vocab_size));
    }
  }
  return OkStatus();
}

}  // namespace kvasir
