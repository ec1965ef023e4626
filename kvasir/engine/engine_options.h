// EngineOptions: the knobs of the engine, each with unit, default and bounds.

#ifndef KVASIR_ENGINE_ENGINE_OPTIONS_H_
#define KVASIR_ENGINE_ENGINE_OPTIONS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

class BlockStore;

struct EngineOptions {
  // Of all layers. f32 goes with f32 alone.
  KvFormats kv_format = KvFormat::kBF16;
  // For each layer its own, in place of kv_format: one for each or none.
  std::vector<KvFormats> kv_layers = {};
  // Rotates what becomes integers (kernels/hadamard.h): fewer errors in as many bits. The head
  // dimension must be a multiple of 16 then.
  bool kv_rotation = true;
  // Quantised blocks that a sequence keeps open together, in 16 bits: its tokens read those of
  // their own group unencoded, and only whole groups are shared with others. 1, 2, 4 or 8; 1 where
  // blocks are not quantised.
  size_t kv_open_blocks = 1;
  // Tokens of one sequence, prompt and answer. 0 = the model's own context length. At most the
  // model's.
  size_t context_tokens = 0;
  // Bytes of the block pool, the blocks that are not encoded yet included where blocks are
  // quantised (kv/open_blocks.h); 0 = enough for `sequence_count_max` sequences of
  // min(context_tokens, 8192) tokens, but at least one sequence of context_tokens.
  size_t kv_bytes = 0;
  // Sequences in one batch, 1..1024.
  size_t sequence_count_max = 16;
  // Rows of one step: decodes first, the rest for prompt chunks. 1..the model's row_count_max.
  // Results do not depend on it.
  size_t chunk_tokens = 512;
  // Keeps blocks that nobody uses for requests with the same beginning, until the memory is needed.
  // Results do not depend on it.
  bool prefix_cache = true;
  // How much longer than its decodes alone a step may take because prompts are read in it: 1 + this
  // much for as many prompts as decodes, more when there are more prompts (scheduler.h). 0.1..100,
  // or 0 = prompts always fill chunk_tokens. Results do not depend on it.
  double prompt_share = 1;
  // However many prompts there are, a step with decodes stays below it, unless a single prompt's
  // share is more. 1..60000.
  double step_ms_max = 200;
  // Names the weights and how the model computes with them: part of the cached blocks' identity.
  // May be empty as long as blocks do not leave the process.
  std::string model_identity = {};
  // Where blocks are kept beside the pool, and found when they are not in it any more; null:
  // nowhere. Needs prefix_cache. Results do not depend on it, whatever it does.
  std::shared_ptr<BlockStore> store = {};
  // Tokens of keys and values that a decode row reads of a longer sequence, in blocks chosen by
  // bounds of their keys (attention/block_select.h): an approximation, less to read. Prompts are
  // read in full. 0 = off: everything is read; else a multiple of 32 from 128 on. Not with
  // quantised keys and values, of which there are no bounds.
  size_t block_select_tokens = 0;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_ENGINE_OPTIONS_H_
