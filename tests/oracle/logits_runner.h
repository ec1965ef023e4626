// ModelRunner: runs prompts through a Model the way a test wants them: in chunks of its own
// choosing, several at once, on blocks in shuffled order. Has none of the engine's decisions, so
// that a test of the model depends on model and kv only. Owned by one test; one thread.

#ifndef KVASIR_TESTS_ORACLE_LOGITS_RUNNER_H_
#define KVASIR_TESTS_ORACLE_LOGITS_RUNNER_H_

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/thread_pool.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/open_kv.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"
#include "kvasir/model/model.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {

// A model with what it needs to live.
struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Model> model;
};

inline Result<LoadedModel> LoadForTest(const std::string& path, ActivationPrecision activations,
                                       size_t thread_count) {
  LoadedModel loaded;
  loaded.pool = std::make_unique<ThreadPool>(thread_count);
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> checkpoint, OpenCheckpoint(path));
  LoadOptions options;
  options.activations = activations;
  KVASIR_ASSIGN_OR_RETURN(loaded.model, LoadModel(*checkpoint, options, *loaded.pool));
  return loaded;
}

// The path of a model file: the environment variable when it is set, else `file` in the cache that
// scripts/quickstart fills. Empty when there is no such file.
inline std::string FindModelFile(const char* variable, std::string_view file) {
  std::filesystem::path path;
  if (const char* chosen = std::getenv(variable); chosen != nullptr && *chosen != '\0') {
    path = chosen;
  } else if (const char* home = std::getenv("HOME"); home != nullptr) {
    path = std::filesystem::path(home) / ".cache/kvasir/models" / file;
  }
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) ? path.string() : std::string();
}

// The default model, which scripts/test provides.
inline std::string FindDefaultModel() {
  return FindModelFile("KVASIR_MODEL", "SmolLM2-135M-Instruct.Q4_1.gguf");
}

struct RunnerPrompt {
  std::vector<TokenId> ids;
  std::vector<int32_t> positions;  // whose logits are wanted, rising
  size_t chunk_tokens = 512;       // rows of this prompt in one step, at most
  size_t first_step = 0;           // the prompt joins the batch here
};

// Receives the logits of one position; the row is valid during the call.
using OnLogits =
    std::function<void(size_t prompt, int32_t position, std::span<const float> logits)>;

class ModelRunner {
 public:
  // Room for `token_count` tokens in each of `sequence_count` sequences. `shuffle_seed` 0 hands the
  // blocks out in the pool's own order; `open_blocks` as in EngineOptions. `model` must outlive the
  // runner.
  static Result<ModelRunner> Create(Model& model, KvFormats formats, size_t sequence_count,
                                    size_t token_count, uint32_t shuffle_seed = 0,
                                    size_t open_blocks = 1) {
    const size_t blocks_each = (token_count + kKvBlockTokens - 1) / kKvBlockTokens;
    KVASIR_ASSIGN_OR_RETURN(
        const KvBlockLayout layout,
        KvLayoutFor(model, {.kv_format = formats, .kv_open_blocks = open_blocks}));
    const auto open = OpenBlockCounts::For(layout, model.row_count_max(), sequence_count);
    KVASIR_ASSIGN_OR_RETURN(auto blocks,
                            BlockPool::Create(layout, sequence_count * blocks_each, open));
    if (shuffle_seed != 0) KVASIR_RETURN_IF_ERROR(ShuffleFreeBlocks(*blocks, shuffle_seed));
    return ModelRunner(model, std::move(blocks));
  }

  // Runs all prompts to their ends, each step with the next chunk of every prompt that has joined,
  // and hands the wanted logits to `on_logits`.
  Status Run(std::span<const RunnerPrompt> prompts, const OnLogits& on_logits) {
    std::vector<Sequence> sequences;
    for (const RunnerPrompt& prompt : prompts) sequences.emplace_back(prompt, *blocks_);
    const auto unfinished = [](const Sequence& s) { return s.done < s.prompt->ids.size(); };
    for (size_t step = 0; std::any_of(sequences.begin(), sequences.end(), unfinished); ++step) {
      KVASIR_RETURN_IF_ERROR(Step(step, sequences, on_logits));
    }
    return OkStatus();
  }

 private:
  struct Sequence {
    Sequence(const RunnerPrompt& p, BlockPool& pool) : prompt(&p), table(pool) {}

    const RunnerPrompt* prompt;
    BlockTable table;
    size_t done = 0;         // tokens computed
    size_t wanted_done = 0;  // of prompt->positions
  };

  // The arrays of one Batch and where its logits go.
  struct StepArrays {
    std::vector<TokenId> tokens;
    std::vector<int32_t> positions, qo_indptr{0}, kv_indptr{0}, kv_indices, kv_last_page_len;
    OwnBlocks own;
    std::vector<int32_t> logit_rows;
    std::vector<std::pair<size_t, int32_t>> logit_owners;  // (prompt, position) by logit row
  };

  ModelRunner(Model& model, std::unique_ptr<BlockPool> blocks)
      : model_(&model), blocks_(std::move(blocks)) {}

  static Status ShuffleFreeBlocks(BlockPool& blocks, uint32_t seed) {
    std::vector<BlockId> all;
    while (blocks.free_count() > 0) {
      KVASIR_ASSIGN_OR_RETURN(const BlockId block, blocks.Allocate());
      all.push_back(block);
    }
    std::shuffle(all.begin(), all.end(), std::mt19937(seed));
    for (const BlockId block : all) blocks.Release(block);
    return OkStatus();
  }

  Status Step(size_t step, std::vector<Sequence>& sequences, const OnLogits& on_logits) {
    StepArrays arrays;
    for (size_t i = 0; i < sequences.size(); ++i) {
      Sequence& sequence = sequences[i];
      const size_t room = model_->row_count_max() - arrays.tokens.size();
      const size_t count = std::min(
          {sequence.prompt->ids.size() - sequence.done, sequence.prompt->chunk_tokens, room});
      if (count == 0 || step < sequence.prompt->first_step) continue;
      KVASIR_RETURN_IF_ERROR(AddChunk(i, count, sequence, arrays));
    }
    if (arrays.tokens.empty()) return OkStatus();

    const size_t vocab_size = model_->spec().vocab_size;
    // [logit rows, vocab_size]
    std::vector<float> logits(arrays.logit_rows.size() * vocab_size);
    const PagedKv kv{.layout = blocks_->layout(),
                     .base = blocks_->base(),
                     .page_count = blocks_->block_count(),
                     .kv_indptr = arrays.kv_indptr,
                     .kv_indices = arrays.kv_indices,
                     .kv_last_page_len = arrays.kv_last_page_len,
                     .open = OpenKvOf(*blocks_, arrays.own)};
    const Batch batch{.tokens = arrays.tokens,
                      .positions = arrays.positions,
                      .qo_indptr = arrays.qo_indptr,
                      .kv = kv,
                      .logit_rows = arrays.logit_rows};
    KVASIR_RETURN_IF_ERROR(model_->Forward(
        batch, MatrixView<float>(logits.data(), arrays.logit_rows.size(), vocab_size)));
    for (size_t row = 0; row < arrays.logit_owners.size(); ++row) {
      const auto [prompt, position] = arrays.logit_owners[row];
      on_logits(prompt, position, std::span(logits).subspan(row * vocab_size, vocab_size));
    }
    return OkStatus();
  }

  // Appends the next `count` tokens of `sequence`, which is number `index`, to the batch.
  static Status AddChunk(size_t index, size_t count, Sequence& sequence, StepArrays& arrays) {
    KVASIR_RETURN_IF_ERROR(sequence.table.Extend(count));
    const RunnerPrompt& prompt = *sequence.prompt;
    for (size_t i = 0; i < count; ++i, ++sequence.done) {
      const int32_t position = static_cast<int32_t>(sequence.done);
      if (sequence.wanted_done < prompt.positions.size() &&
          prompt.positions[sequence.wanted_done] == position) {
        arrays.logit_rows.push_back(static_cast<int32_t>(arrays.tokens.size()));
        arrays.logit_owners.emplace_back(index, position);
        ++sequence.wanted_done;
      }
      arrays.tokens.push_back(prompt.ids[sequence.done]);
      arrays.positions.push_back(position);
    }
    arrays.qo_indptr.push_back(static_cast<int32_t>(arrays.tokens.size()));
    const std::span<const BlockId> pages = sequence.table.blocks();
    arrays.kv_indices.insert(arrays.kv_indices.end(), pages.begin(), pages.end());
    arrays.kv_indptr.push_back(static_cast<int32_t>(arrays.kv_indices.size()));
    arrays.own.Add(sequence.table, count);
    arrays.kv_last_page_len.push_back(
        static_cast<int32_t>(sequence.table.last_block_token_count()));
    return OkStatus();
  }

  Model* model_;
  std::unique_ptr<BlockPool> blocks_;
};

}  // namespace kvasir

#endif  // KVASIR_TESTS_ORACLE_LOGITS_RUNNER_H_
