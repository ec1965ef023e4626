#include "kvasir/cli/model_options.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "kvasir/base/topology.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/engine/kv_calibration.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/store/disk_store.h"
#include "kvasir/weights/weights_digest.h"
#include "kvasir/weights/weights_identity.h"

namespace kvasir {

namespace {

constexpr size_t kThreadCountMax = 1024;
constexpr size_t kContextTokensMax = size_t{1} << 24;
constexpr size_t kChunkTokensMax = 8192;

constexpr std::string_view kKvAuto = "auto";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// ${XDG_CACHE_HOME:-~/.cache}/kvasir
std::string CacheDirectory() {
  std::string cache = Environment("XDG_CACHE_HOME");
  if (cache.empty()) cache = Environment("HOME") + "/.cache";
  return cache + "/kvasir";
}

// Where scripts/quickstart puts it.
std::string DefaultModelPath() {
  return CacheDirectory() + "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
}

Result<std::shared_ptr<BlockStore>> OpenKvDisk(const ModelOptions& options) {
  DiskStoreOptions disk;
  disk.directory = *options.kv_disk;
  disk.cap_bytes = options.kv_disk_bytes;
  KVASIR_ASSIGN_OR_RETURN(std::unique_ptr<DiskStore> store, DiskStore::Open(std::move(disk)));
  return std::shared_ptr<BlockStore>(std::move(store));
}

// The formats of the layers for --kv auto, none for other formats.
Result<std::vector<KvFormats>> KvLayersFor(const ModelOptions& options, const std::string& digest,
                                           const ModelSpec& spec) {
  const auto& path = options.kv_calibration_path;
  if (options.kv_format != kKvAuto) {
    if (!path) return std::vector<KvFormats>();
    return InvalidArgument("--kv-calibration goes with --kv auto, not with --kv " +
                           options.kv_format);
  }
  if (!path) {
    return InvalidArgument(
        "--kv auto needs --kv-calibration with a file that kvasir kv-calibrate made");
  }
  if (!options.rotates_kv()) {
    return InvalidArgument(
        "--kv-rotation off does not go with --kv auto, whose maps are for rotated keys and values");
  }
  KVASIR_ASSIGN_OR_RETURN(const KvCalibration calibration, ReadKvCalibration(*path));
  const KvBlockLayout layout = {spec.layer_count, spec.kv_head_count, spec.head_dim};
  const auto applied = ApplyKvCalibration(calibration, digest, layout);
  if (!applied.ok()) return applied.status().WithContext(*path);
  return calibration.layers;
}

}  // namespace

void AddModelFlags(CLI::App& app, ModelFlags flags, ModelOptions* options) {
  AddTextFlag(app, "-m,--model", &options->model_path, "PATH",
              "GGUF file or Hugging Face directory\n(default: $KVASIR_MODEL, else the default "
              "model)");
  if (flags == ModelFlags::kFile) return;
  AddCountFlag(app, "-t,--threads", &options->thread_count, 1, kThreadCountMax,
               "compute threads (default: the usable cores)");
  if (flags == ModelFlags::kEngine) {
    AddCountFlag(app, "-c,--context", &options->context_tokens, 1, kContextTokensMax,
                 "tokens of prompt and answer together\n(default: the model's own, at most " +
                     std::to_string(kContextTokensDefaultMax) + ")");
    AddBytesFlag(app, "--kv-bytes", &options->kv_bytes, 1 << 20,
                 "memory for keys and values, e.g. 512M\n(default: enough for the context)");
    AddCountFlag(app, "--block-select", &options->block_select_tokens, 0, kContextTokensMax,
                 "answer from so many tokens of a longer context,\nin blocks chosen by their keys: "
                 "an approximation,\ne.g. 1024, a multiple of 32 from 128 on (default: 0 = off)");
  }
  if (flags != ModelFlags::kCompute) {
    AddNameFlag(app, "--kv", &options->kv_format, KvFormatsHelp(), IsKvFormat,
                "format of keys and values, or of each: int8/int4,\nor auto with --kv-calibration "
                "(default: bf16)");
    AddKvMapFlags(app, options);
  }
  AddChoiceFlag(app, "--activations", &options->activations, {"int8", "f32"},
                "how inputs meet quantised weights:\nint8 is fast, f32 exact (default: int8)");
  AddChoiceFlag(
      app, "--target", &options->target, {"auto", "portable", "avx2", "avx512"},
      "instruction set (default: $KVASIR_TARGET,\nelse auto: the best that this CPU has)");
  AddCountFlag(app, "--chunk", &options->chunk_tokens, 1, kChunkTokensMax,
               "prompt tokens computed at once; answers do\nnot depend on it (default: 512)");
  AddSwitch(app, "--no-cascade", &options->no_cascade,
            "read KV blocks that sequences share once for\neach of them; answers do not depend on "
            "it");
}

void AddKvMapFlags(CLI::App& app, ModelOptions* options) {
  AddTextFlag(app, "--kv-calibration", &options->kv_calibration_path, "FILE",
              "the map of formats for --kv auto, which\nkvasir kv-calibrate makes");
  AddChoiceFlag(app, "--kv-rotation", &options->kv_rotation, {"on", "off"},
                "rotates heads that become integers: fewer errors\nin as many bits (default: on)");
  AddCountFlag(
      app, "--kv-open-blocks", &options->kv_open_blocks, 1, kKvOpenBlocksMax,
      "blocks of 32 tokens that wait together, in 16\nbits, until they are quantised: 1, 2, "
      "4 or 8; more\nlose less, and are shared as a whole (default: 1)");
}

void AddPrefixCacheFlag(CLI::App& app, ModelOptions* options) {
  AddSwitch(app, "--no-prefix-cache", &options->no_prefix_cache,
            "compute every prompt in full; answers do not\ndepend on it");
}

void AddKvDiskFlags(CLI::App& app, ModelOptions* options) {
  AddTextFlag(app, "--kv-disk", &options->kv_disk, "DIR",
              "keeps what was computed on disk as well, for\nlater runs; answers do not depend on "
              "it");
  AddBytesFlag(app, "--kv-disk-bytes", &options->kv_disk_bytes, kDiskCapBytesMin,
               "most that it takes there (default: 20G)");
}

Result<std::string> ResolveModelPath(const ModelOptions& options) {
  std::string path = options.model_path.value_or("");
  std::string origin = "--model";
  if (!options.model_path) {
    path = Environment("KVASIR_MODEL");
    origin = "KVASIR_MODEL";
  }
  const bool is_default = !options.model_path && path.empty();
  if (is_default) path = DefaultModelPath();
  std::error_code error;
  if (std::filesystem::exists(path, error)) return path;
  if (is_default) {
    return NotFound("there is no model at " + path +
                    ": run scripts/quickstart, which gets the default model, or name one with "
                    "--model");
  }
  return NotFound("there is no file or directory '" + path + "', which " + origin + " names");
}

Status ApplyCpuTarget(const ModelOptions& options) {
  if (!options.target.empty()) return ForceCpuTarget(options.target).WithContext("--target");
  return ForceCpuTargetFromEnvironment();
}

Result<OpenedModel> OpenModel(const ModelOptions& options) {
  OpenedModel opened;
  KVASIR_ASSIGN_OR_RETURN(const std::string path, ResolveModelPath(options));
  KVASIR_ASSIGN_OR_RETURN(opened.checkpoint, OpenCheckpoint(path));
  KVASIR_ASSIGN_OR_RETURN(opened.tokenizer, Tokenizer::Create(opened.checkpoint->tokenizer()));
  return opened;
}

Result<LoadedModel> LoadModelFor(const ModelOptions& options, size_t sequence_count) {
  KVASIR_RETURN_IF_ERROR(ApplyCpuTarget(options));
  KVASIR_ASSIGN_OR_RETURN(OpenedModel opened, OpenModel(options));
  KVASIR_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModelFor(options, sequence_count, opened));
  loaded.tokenizer = std::move(opened.tokenizer);
  return loaded;
}

Result<LoadedModel> LoadModelFor(const ModelOptions& options, size_t sequence_count,
                                 const OpenedModel& opened) {
  LoadedModel loaded;
  const Checkpoint& checkpoint = *opened.checkpoint;
  loaded.path = checkpoint.path();
  loaded.name = ModelName(checkpoint);
  loaded.weights_label = WeightsLabel(checkpoint);
  const std::string digest = WeightsIdentity(checkpoint);
  KVASIR_ASSIGN_OR_RETURN(loaded.kv_layers, KvLayersFor(options, digest, checkpoint.spec()));
  // Blocks that outlive the process need a name that no sample could give.
  loaded.identity =
      (options.has_kv_disk() ? WeightsDigest(checkpoint, CacheDirectory() + "/weights") : digest) +
      ", activations " + options.activations;
  loaded.chat_template = checkpoint.tokenizer().chat_template;
  loaded.pool = std::make_unique<ThreadPool>(options.thread_count == 0 ? UsableCoreCount()
                                                                       : options.thread_count);
  ProgressBar progress("loading " + loaded.name, StderrIsTerminal());
  LoadOptions load_options;
  load_options.activations = ActivationsFor(options);
  load_options.cascade = !options.no_cascade;
  load_options.row_count_max = std::max(options.chunk_tokens, sequence_count);
  load_options.on_progress = [&progress](double share) { progress.Update(share); };
  KVASIR_ASSIGN_OR_RETURN(loaded.model, LoadModel(checkpoint, load_options, *loaded.pool));
  return loaded;
}

Result<EngineOptions> EngineOptionsFor(const ModelOptions& options, const LoadedModel& loaded,
                                       size_t sequence_count) {
  const ModelSpec& spec = loaded.model->spec();
  if (options.context_tokens > spec.context_length) {
    return InvalidArgument("--context: " + std::to_string(options.context_tokens) +
                           " tokens are more than this model's " +
                           std::to_string(spec.context_length));
  }
  EngineOptions engine;
  engine.kv_format = KvFormatFor(options);
  engine.kv_layers = loaded.kv_layers;
  engine.kv_rotation = options.rotates_kv();
  engine.kv_open_blocks = options.kv_open_blocks;
  engine.context_tokens = options.context_tokens != 0
                              ? options.context_tokens
                              : std::min<size_t>(spec.context_length, kContextTokensDefaultMax);
  engine.kv_bytes = options.kv_bytes;
  engine.sequence_count_max = sequence_count;
  engine.block_select_tokens = options.block_select_tokens;
  engine.chunk_tokens = std::max(options.chunk_tokens, sequence_count);
  engine.prefix_cache = options.prefix_cache();
  engine.model_identity = loaded.identity;
  if (options.has_kv_disk()) {
    KVASIR_ASSIGN_OR_RETURN(engine.store, OpenKvDisk(options));
  }
  return engine;
}

bool IsKvFormat(const std::string& name) {
  return name == kKvAuto || KvFormatsFromName(name).has_value();
}

KvFormats KvFormatFor(const ModelOptions& options) {
  if (options.kv_format == kKvAuto) return KvFormat::kBF16;  // the layers have their own
  const auto format = KvFormatsFromName(options.kv_format);
  KVASIR_CHECK(format.has_value());
  return *format;
}

ActivationPrecision ActivationsFor(const ModelOptions& options) {
  return options.activations == "f32" ? ActivationPrecision::kF32 : ActivationPrecision::kInt8;
}

std::string WeightsLabel(const Checkpoint& checkpoint) {
  std::array<size_t, kDTypeCount> bytes_by_dtype = {};
  for (const auto& [key, tensor] : checkpoint.tensors()) {
    const bool in_layers =
        key.first != TensorRole::kTokenEmbedding && key.first != TensorRole::kOutput;
    if (in_layers) bytes_by_dtype[static_cast<size_t>(tensor.dtype)] += tensor.bytes.size();
  }
  const auto largest = std::max_element(bytes_by_dtype.begin(), bytes_by_dtype.end());
  const auto dtype = static_cast<DType>(largest - bytes_by_dtype.begin());
  return std::string(GetDTypeInfo(dtype).name);
}

std::string ModelName(const Checkpoint& checkpoint) {
  if (!checkpoint.spec().name.empty()) return checkpoint.spec().name;
  std::filesystem::path path(checkpoint.path());
  if (!path.has_filename()) path = path.parent_path();
  return path.filename().string();
}

}  // namespace kvasir
