// SequenceReader: runs sequences of known tokens through a model on blocks of its own, in pieces or
// token by token, with or without block selection: for measurements that the engine's queue would
// only hide. One thread, which owns the model's pool.

#ifndef KVASIR_EVAL_SEQUENCE_READER_H_
#define KVASIR_EVAL_SEQUENCE_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kvasir/base/status.h"
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
  // Room for `token_count` tokens in all tables together, in whole blocks. `model` must outlive the
  // reader. kResourceExhausted when the blocks do not fit in memory, kInvalidArgument for formats
  // that do not go with the model.
  static Result<std::unique_ptr<SequenceReader>> Create(Model& model, KvFormats formats,
                                                        size_t token_count);
  // Tables that may hold tokens at the same time.
  static constexpr size_t kSequenceCountMax = 4;

  // An empty sequence; must not outlive the reader.
  BlockTable NewSequence() { return BlockTable(*pool_); }
  // Appends `tokens` in pieces of up to `chunk_tokens` rows, and writes the logits of the last one
  // to `logits` [vocab_size]. REQUIRES at least one token, and a chunk that the model takes.
  Status Read(std::span<const TokenId> tokens, size_t chunk_tokens, BlockTable& sequence,
              std::span<float> logits);
  // The same for one token, which reads its context as `reading` says.
  Status Decode(TokenId token, const DecodeReading& reading, BlockTable& sequence,
                std::span<float> logits);

 private:
  SequenceReader(Model& model, std::unique_ptr<BlockPool> pool,
                 std::optional<BlockSummaries> summaries);
  Status Forward(std::span<const TokenId> tokens, const DecodeReading& reading,
                 BlockTable& sequence, std::span<float> logits);

  Model& model_;
  std::unique_ptr<BlockPool> pool_;
  std::optional<BlockSummaries> summaries_;  // not of quantised blocks
};

}  // namespace kvasir

#endif  // KVASIR_EVAL_SEQUENCE_READER_H_
