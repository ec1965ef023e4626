#include "kvasir/weights/checkpoint.h"

#include <filesystem>

#include "kvasir/weights/checkpoint_builder.h"
#include "kvasir/weights/families/family.h"
#include "kvasir/weights/gguf.h"
#include "kvasir/weights/gguf_tokenizer_data.h"
#include "kvasir/weights/hf_config.h"
#include "kvasir/weights/hf_tokenizer_data.h"
#include "kvasir/weights/printable.h"
#include "kvasir/weights/safetensors.h"
#include "kvasir/weights/tensor_map.h"

namespace kvasir {

namespace {

namespace fs = std::filesystem;

constexpr size_t kConfigBytesMax = 16 << 20;
constexpr size_t kIndexBytesMax = 64 << 20;
constexpr size_t kMessageBytesMax = 1500;

// A part of a split file has a share of the tensors only: better said so than as a list of names.
Status CheckSplit(const GgufFile& file) {
  FieldReader reader(file, "split.");
  const uint32_t parts = reader.Uint("count", {0, 65535}, 1);
  KVASIR_RETURN_IF_ERROR(reader.status());
  if (parts <= 1) return OkStatus();
  return Unimplemented("split.count is " + std::to_string(parts) +
                       ", but GGUF files in several parts are not supported; "
                       "llama-gguf-split --merge joins them");
}

Result<std::vector<std::string>> ShardNames(const std::string& directory) {
  const std::string single = "model.safetensors", index = "model.safetensors.index.json";
  std::error_code error;
  if (fs::exists(directory + "/" + single, error)) return std::vector<std::string>{single};
  if (!fs::exists(directory + "/" + index, error)) {
    return NotFound("the directory has neither " + single + " nor " + index);
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(directory + "/" + index, kIndexBytesMax));
  Result<std::vector<std::string>> names = ReadShardNames(text);
  if (!names.ok()) return names.status().WithContext(index);
  return names;
}

// A directory or a pipe would block or fail in ways that say nothing.
Status CheckRegular(const std::string& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_regular_file(path, error)) {
    return InvalidArgument("not a regular file");
  }
  return OkStatus();
}

}  // namespace

std::vector<std::string> Checkpoint::file_paths() const {
  std::vector<std::string> paths;
  for (const MappedFile& file : files_) paths.push_back(file.path());
  return paths;
}

uint64_t Checkpoint::tensor_bytes() const {
  uint64_t byte_count = 0;
  for (const auto& [key, tensor] : tensors_) byte_count += tensor.bytes.size();
  return byte_count;
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::FromGgufBytes(
    std::span<const std::byte> bytes) {
  KVASIR_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Parse(bytes));
  KVASIR_RETURN_IF_ERROR(CheckSplit(file));
  FieldReader general(file, "general.");
  const std::string architecture = general.String("architecture", "");
  const std::string name = general.String("name", "");
  KVASIR_RETURN_IF_ERROR(general.status());
  KVASIR_ASSIGN_OR_RETURN(const ModelFamily* family, FamilyByGgufArchitecture(architecture));

  auto checkpoint = std::make_unique<Checkpoint>();
  ModelSpec& spec = checkpoint->spec_;
  KVASIR_RETURN_IF_ERROR(family->read_gguf(file, &spec));
  spec.family = family->name;
  spec.name = Printable(name);
  spec.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  KVASIR_ASSIGN_OR_RETURN(checkpoint->tensors_,
                          MapTensors(spec, family->tensors, NameStyle::kGguf, file.tensors()));
  KVASIR_ASSIGN_OR_RETURN(checkpoint->tokenizer_, ReadGgufTokenizerData(file, spec.vocab_size));
  checkpoint->format_description_ = "GGUF v" + std::to_string(file.version());
  return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::FromGgufFile(const std::string& path) {
  KVASIR_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  KVASIR_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint, FromGgufBytes(file.bytes()));
  checkpoint->files_.push_back(std::move(file));
  return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::FromHfDirectory(
    const std::string& directory) {
  KVASIR_RETURN_IF_ERROR(CheckRegular(directory + "/config.json"));
  KVASIR_ASSIGN_OR_RETURN(const std::string text,
                          ReadFile(directory + "/config.json", kConfigBytesMax));
  Result<HfConfig> config = HfConfig::Parse(text);
  if (!config.ok()) return config.status().WithContext("config.json");
  KVASIR_ASSIGN_OR_RETURN(const ModelFamily* family, FamilyByHfModelType(config->model_type()));

  auto checkpoint = std::make_unique<Checkpoint>();
  ModelSpec& spec = checkpoint->spec_;
  KVASIR_RETURN_IF_ERROR(family->read_hf(*config, &spec));
  spec.family = family->name;
  spec.name = Printable(FieldReader(*config).String("_name_or_path", ""));

  KVASIR_ASSIGN_OR_RETURN(const std::vector<std::string> shards, ShardNames(directory));
  std::vector<FileTensor> tensors;
  for (const std::string& shard : shards) {
    const Status regular = CheckRegular(directory + "/" + shard);
    if (!regular.ok()) return regular.WithContext(shard);
    KVASIR_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(directory + "/" + shard));
    Result<std::vector<FileTensor>> found = ParseSafetensors(file.bytes());
    if (!found.ok()) return found.status().WithContext(shard);
    for (FileTensor& tensor : *found) tensors.push_back(std::move(tensor));
    checkpoint->files_.push_back(std::move(file));
  }
  KVASIR_ASSIGN_OR_RETURN(checkpoint->tensors_,
                          MapTensors(spec, family->tensors, NameStyle::kHuggingFace, tensors));
  KVASIR_ASSIGN_OR_RETURN(checkpoint->tokenizer_,
                          ReadHfTokenizerData(directory, *config, spec.vocab_size));
  checkpoint->format_description_ =
      "Hugging Face, " + std::to_string(shards.size()) + (shards.size() == 1 ? " file" : " shards");
  return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> CheckpointBuilder::FromPath(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return NotFound("no such file or directory");
  const bool is_directory = fs::is_directory(path, error);
  if (!is_directory) KVASIR_RETURN_IF_ERROR(CheckRegular(path));
  KVASIR_ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> checkpoint,
                          is_directory ? FromHfDirectory(path) : FromGgufFile(path));
  checkpoint->path_ = path;
  return checkpoint;
}

Result<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  Result<std::unique_ptr<Checkpoint>> checkpoint = CheckpointBuilder::FromPath(path);
  if (checkpoint.ok()) return checkpoint;
  // A JSON parser's message may quote the file: one line and no control characters, whatever it
  // holds.
  const Status status(checkpoint.status().code(),
                      Printable(checkpoint.status().message(), kMessageBytesMax));
  return status.WithContext(path);
}

}  // namespace kvasir
