// ModelOptions: the flags that every command with a model shares, and the steps from them to a
// model that can run: find the file, force the instruction set, open, pack, plan the engine. Main
// thread.

#ifndef KVASIR_CLI_MODEL_OPTIONS_H_
#define KVASIR_CLI_MODEL_OPTIONS_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/engine/engine.h"
#include "kvasir/model/model.h"
#include "kvasir/text/tokenizer.h"
#include "kvasir/weights/checkpoint.h"

namespace CLI {
class App;
}

namespace kvasir {

// Prompts of 20,000 blocks of 1 MB: what a model of 1B weights keeps of 600,000 tokens.
inline constexpr size_t kKvDiskBytesDefault = size_t{20} << 30;

struct ModelOptions {
  std::optional<std::string> model_path;  // unset: $KVASIR_MODEL, else the default model
  size_t thread_count = 0;                // 0 = usable cores
  size_t context_tokens = 0;              // 0 = the model's own, at most kContextTokensDefaultMax
  std::string kv_format = "bf16";
  std::optional<std::string> kv_calibration_path;  // with kv_format "auto", and only then
  std::string kv_rotation = "on";                  // or "off"
  size_t kv_open_blocks = 1;                       // EngineOptions::kv_open_blocks
  size_t kv_bytes = 0;                             // 0 = as much as the sequences need
  std::string activations = "int8";
  std::string target;  // empty: $KVASIR_TARGET, else auto
  size_t chunk_tokens = 512;
  size_t block_select_tokens = 0;  // 0 = off
  bool no_cascade = false;
  bool no_prefix_cache = false;
  std::optional<std::string> kv_disk;  // directory where blocks are kept; unset or empty: nowhere
  size_t kv_disk_bytes = kKvDiskBytesDefault;

  bool prefix_cache() const { return !no_prefix_cache; }
  bool rotates_kv() const { return kv_rotation == "on"; }
  bool has_kv_disk() const { return kv_disk && !kv_disk->empty(); }
};

// Contexts beyond it must be asked for: their keys and values take more memory than the weights of
// a small model.
inline constexpr size_t kContextTokensDefaultMax = 8192;

// Which flags a command has besides --model.
enum class ModelFlags {
  kFile,     // only the file is opened: no further flags
  kCompute,  // --threads --activations --target --chunk --no-cascade
  kKernel,   // those, --kv, --kv-rotation and --kv-open-blocks
  kEngine,   // those and --context --kv-bytes --block-select
};
void AddModelFlags(CLI::App& app, ModelFlags flags, ModelOptions* options);
// --kv-calibration, --kv-rotation and --kv-open-blocks, which the flags with --kv have already.
void AddKvMapFlags(CLI::App& app, ModelOptions* options);
// --no-prefix-cache, of the commands where sequences can share.
void AddPrefixCacheFlag(CLI::App& app, ModelOptions* options);
// --kv-disk and --kv-disk-bytes, of the commands that may meet the same prompt again.
void AddKvDiskFlags(CLI::App& app, ModelOptions* options);

// The file or directory to open. kNotFound names the path and how to get the default model.
Result<std::string> ResolveModelPath(const ModelOptions& options);

// Forces the instruction set of the flag, else of the environment. Before any kernel runs.
Status ApplyCpuTarget(const ModelOptions& options);

// A model file that is open but not packed: what tokenize and info need.
struct OpenedModel {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
};
Result<OpenedModel> OpenModel(const ModelOptions& options);

// A model that can run.
struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;  // first: outlives the model
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string path;
  std::string name;  // as the file calls itself, else the file's name
  std::string weights_label;
  std::vector<KvFormats> kv_layers;  // the calibration's, with --kv auto; else empty
  std::string identity;              // of the weights and the activations' precision
  std::string chat_template;         // Jinja source, may be empty
};

// Opens and packs the model with a progress bar on a terminal. Batches have up to
// max(options.chunk_tokens, sequence_count) rows. The file is closed again.
Result<LoadedModel> LoadModelFor(const ModelOptions& options, size_t sequence_count = 1);
// The same from a file that is already open, which stays open.
Result<LoadedModel> LoadModelFor(const ModelOptions& options, size_t sequence_count,
                                 const OpenedModel& opened);

// Options of an engine that runs `sequence_count` sequences at once, with the store of --kv-disk.
// kInvalidArgument when --context is more than the model was made for; what DiskStore::Open says
// when the directory or its size will not do.
Result<EngineOptions> EngineOptionsFor(const ModelOptions& options, const LoadedModel& loaded,
                                       size_t sequence_count);

// What --kv accepts.
bool IsKvFormat(const std::string& name);
// REQUIRES values that the flags accept.
KvFormats KvFormatFor(const ModelOptions& options);
ActivationPrecision ActivationsFor(const ModelOptions& options);

// The type that most weight bytes have, embedding and output aside: "Q4_1".
std::string WeightsLabel(const Checkpoint& checkpoint);
// The name that the file gives itself, else the last part of its path.
std::string ModelName(const Checkpoint& checkpoint);

}  // namespace kvasir

#endif  // KVASIR_CLI_MODEL_OPTIONS_H_
