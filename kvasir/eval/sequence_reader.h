// SequenceReader: runs sequences of known tokens through a model on blocks of its own, in pieces or
// token by token, with or without block selection: for measurements that the engine's queue would
// only hide. What it reads of earlier blocks it reads through the cache, as the engine does. One
// thread, which owns the model's pool.

#ifndef KVASIR_EVAL_SEQUENCE_READER_H_
#define KVASIR_EVAL_SEQUENCE_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"
#include "kvasir/model/model.h"

namespace kvasir {

// What a decode row reads of a long context.
struct DecodeReading {
  size_t budget_tokens = 0;  // 0 = everything; else a multiple of 32 from 128 on
  uint32_t full_layer_count = BatchBlockSelect().full_layer_count;
};

class SequenceReader {
 public:
  // Room for `token_count` tokens in all tables together, in whole blocks of `layout`, one of
  // `model`, which must outlive the reader. kResourceExhausted when the blocks do not fit in
  // memory.
  static Result<std::unique_ptr<SequenceReader>> Create(Model& model, const KvBlockLayout& layout,
                                                        size_t token_count);
  // Tables that may hold tokens at the same time.
  static constexpr size_t kSequenceCountMax = 4;

  const BlockPool& pool() const { return *pool_; }

  // An empty sequence; must not outlive the reader.
  BlockTable NewSequence() { return BlockTable(*pool_); }
  // Appends `tokens` in pieces of up to `chunk_tokens` rows, and writes the logits of the last one
  // to `logits` [vocab_size]; an empty `logits` wants none. REQUIRES at least one token, and a
  // chunk that the model takes.
  Status Read(std::span<const TokenId> tokens, size_t chunk_tokens, BlockTable& sequence,
              std::span<float> logits);
  // Appends `tokens` in one piece, with the logits of every one. REQUIRES as many rows as tokens.
  Status ReadPiece(std::span<const TokenId> tokens, BlockTable& sequence, MatrixView<float> logits);
  // Appends `tokens` in pieces of up to logits.rows(), and shows the logits of each piece, whose
  // first row is that of tokens[first].
  Status ReadAll(std::span<const TokenId> tokens, BlockTable& sequence, MatrixView<float> logits,
                 FunctionRef<void(size_t first, MatrixView<float> rows)> show);
  // Appends one token, which reads its context as `reading` says, as Read does.
  Status Decode(TokenId token, const DecodeReading& reading, BlockTable& sequence,
                std::span<float> logits);

 private:
  SequenceReader(Model& model, std::unique_ptr<BlockPool> pool)
      : model_(model), pool_(std::move(pool)) {}
  // Writes the logits of the last logits.rows() tokens.
  Status Forward(std::span<const TokenId> tokens, const DecodeReading& reading,
                 BlockTable& sequence, MatrixView<float> logits);

  Model& model_;
  std::unique_ptr<BlockPool> pool_;
  std::optional<BlockSummaries> summaries_;  // made when the first decode selects blocks
};

// Logits of several rows, reused from piece to piece.
class LogitRows {
 public:
  // As many rows as one Forward of `model` may have of `chunk_tokens` without needing more than 64
  // MiB. kResourceExhausted when there is no memory for them.
  static Result<LogitRows> Create(const Model& model, size_t chunk_tokens);

  MatrixView<float> view() const { return view_; }  // [rows, vocab_size]

 private:
  AlignedBuffer buffer_;
  MatrixView<float> view_;
};

// kInvalidArgument for a token outside the model's vocabulary.
Status CheckTokens(const Model& model, std::span<const TokenId> tokens);

}  // namespace kvasir

#endif  // KVASIR_EVAL_SEQUENCE_READER_H_
