// BenchRunner: measures how fast a model reads prompts and writes tokens, straight on
// Model::Forward and the block pool, without the engine's queue: what a scheduler could reach at
// best. Choosing the next token (greedy) is part of every measured step. One thread, which owns the
// model's pool.

#ifndef KVASIR_CLI_BENCH_RUNNER_H_
#define KVASIR_CLI_BENCH_RUNNER_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"
#include "kvasir/model/model.h"

namespace kvasir {

// ppN: a prompt of N tokens is read, logits of its last token only. tgN: N tokens are written, one
// forward pass each.
struct BenchTest {
  enum class Kind { kPrompt, kDecode };
  Kind kind = Kind::kPrompt;
  size_t token_count = 0;

  std::string Name() const {
    return (kind == Kind::kPrompt ? "pp" : "tg") + std::to_string(token_count);
  }
};

// "pp512,tg64". kInvalidArgument names the part that is no test.
Result<std::vector<BenchTest>> ParseBenchTests(std::string_view list);

struct BenchSettings {
  size_t depth = 0;   // tokens in front of the measured part, not measured themselves
  size_t prompt = 0;  // the same, as the prompt of each sequence of a batch
  // The first tokens of every sequence are the same. Their complete blocks are computed by the
  // first sequence and shared by all, as the engine's prefix cache would do it; with share_blocks
  // false each sequence computes and keeps its own.
  size_t shared_prefix = 0;
  bool share_blocks = true;
  size_t sequence_count = 1;  // side by side in every forward pass
  size_t repetitions = 5;     // measured, after one that is not
  size_t chunk_tokens = 512;  // rows of one forward pass
  KvFormats kv_format = KvFormat::kBF16;
  std::vector<KvFormats> kv_layers = {};  // of each layer, in place of kv_format
  bool kv_rotation = true;                // as in EngineOptions, like the next one
  size_t kv_open_blocks = 1;
  size_t block_select_tokens = 0;  // that a decode reads of a longer context; 0 = everything
};

class BenchRunner {
 public:
  // kResourceExhausted when the keys and values of `settings` with the longest of `tests` do not
  // fit in memory. `model` must outlive the runner and take chunk_tokens and sequence_count rows.
  static Result<std::unique_ptr<BenchRunner>> Create(Model& model, const BenchSettings& settings,
                                                     std::span<const BenchTest> tests);

  // Tokens per second, all sequences together, of each repetition, slowest first. Forward's Status
  // when it refuses, for positions beyond the model's context for example.
  Result<std::vector<double>> Run(const BenchTest& test);

  const KvBlockLayout& kv_layout() const { return pool_->layout(); }

 private:
  struct Sequence {
    std::vector<TokenId> tokens;  // those that `blocks` hold, and those to read next
    BlockTable blocks;
  };
  // The next `token_count` tokens of a sequence, and whether the one that follows is chosen.
  struct Work {
    size_t sequence = 0;
    size_t token_count = 0;
    bool choose_next = false;
  };

  BenchRunner(Model& model, const BenchSettings& settings) : model_(model), settings_(settings) {}
  // Reads prompt tokens until every sequence holds `token_count`, in chunks.
  Status Read(size_t token_count);
  // The same for the sequences first .. end - 1 alone, whose tokens are known.
  Status ReadSequences(size_t first, size_t end, size_t token_count);
  // Lets the other sequences take over what the first one has computed of the shared prefix, but
  // for the last of `token_count` tokens.
  void ShareBlocks(size_t token_count);
  TokenId PromptToken(size_t sequence, size_t position) const;
  Status Decode(size_t step_count);
  // Goes back to the first `token_count` tokens of every sequence.
  void Rewind(size_t token_count);
  // One forward pass.
  Status Step(std::span<const Work> work);

  Model& model_;
  BenchSettings settings_;
  std::unique_ptr<BlockPool> pool_;  // outlives the sequences' tables
  BlockSummaries summaries_;         // of the pool's blocks, with block selection
  AlignedBuffer logits_;             // [sequence_count, vocab_size]
  std::vector<Sequence> sequences_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_BENCH_RUNNER_H_
