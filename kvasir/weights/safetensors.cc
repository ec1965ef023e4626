#include "kvasir/weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "kvasir/base/json.h"
#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

constexpr uint64_t kHeaderBytesMax = 64 << 20;
constexpr size_t kTensorCountMax = 65536;
constexpr size_t kTensorNameBytesMax = 1024;
constexpr size_t kDimensionsMax = 8;
constexpr size_t kShardCountMax = 1024;

struct TensorType {
  std::string_view name;
  uint64_t element_bytes;
  std::optional<DType> dtype;
};

constexpr TensorType kTensorTypes[] = {
    {"F32", 4, DType::kF32},      {"F16", 2, DType::kF16},      {"BF16", 2, DType::kBF16},
    {"F64", 8, std::nullopt},     {"I64", 8, std::nullopt},     {"I32", 4, std::nullopt},
    {"I16", 2, std::nullopt},     {"I8", 1, std::nullopt},      {"U64", 8, std::nullopt},
    {"U32", 4, std::nullopt},     {"U16", 2, std::nullopt},     {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt},    {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
    {"F8_E8M0", 1, std::nullopt},
};

// A JSON array of at most `count_max` numbers that are whole and not negative.
bool ReadNumbers(const Json& json, size_t count_max, std::vector<uint64_t>* numbers) {
  if (!json.is_array() || json.size() > count_max) return false;
  for (const Json& number : json) {
    if (!number.is_number_unsigned()) return false;
    numbers->push_back(number.get<uint64_t>());
  }
  return true;
}

// Bytes of `shape` numbers of `element_bytes` each; absent when that exceeds 64 bits.
std::optional<uint64_t> ShapeBytes(const std::vector<uint64_t>& shape, uint64_t element_bytes) {
  uint64_t byte_count = element_bytes;
  for (const uint64_t dimension : shape) {
    if (__builtin_mul_overflow(byte_count, dimension, &byte_count)) return std::nullopt;
  }
  return byte_count;
}

Result<FileTensor> ReadTensor(const std::string& name, const Json& json,
                              std::span<const std::byte> data) {
  const std::string what = "tensor " + Printable(name);
  if (name.size() > kTensorNameBytesMax) {
    return InvalidArgument(what + " has a name of " + std::to_string(name.size()) +
                           " bytes, at most " + std::to_string(kTensorNameBytesMax) +
                           " are allowed");
  }
  if (!json.is_object() || !json.contains("dtype") || !json["dtype"].is_string() ||
      !json.contains("shape") || !json.contains("data_offsets")) {
    return DataLoss(what + " lacks one of dtype, shape and data_offsets");
  }
  FileTensor tensor;
  tensor.name = name;
  tensor.type_name = Printable(json["dtype"].get_ref<const std::string&>());
  const auto* type =
      std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                   [&tensor](const TensorType& t) { return t.name == tensor.type_name; });
  if (type == std::end(kTensorTypes)) {
    return Unimplemented(what + " has the type " + tensor.type_name +
                         ", supported are F32, F16 and BF16");
  }
  tensor.dtype = type->dtype;
  if (!ReadNumbers(json["shape"], kDimensionsMax, &tensor.shape)) {
    return DataLoss(what + " has a shape that is not a list of at most " +
                    std::to_string(kDimensionsMax) + " whole numbers");
  }
  std::vector<uint64_t> offsets;
  if (!ReadNumbers(json["data_offsets"], 2, &offsets) || offsets.size() != 2) {
    return DataLoss(what + " has data_offsets that are not two whole numbers");
  }
  if (offsets[0] > offsets[1] || offsets[1] > data.size()) {
    return DataLoss(what + " has data_offsets " + std::to_string(offsets[0]) + " to " +
                    std::to_string(offsets[1]) + ", but the file holds " +
                    std::to_string(data.size()) + " bytes of tensors");
  }
  const uint64_t byte_count = offsets[1] - offsets[0];
  if (ShapeBytes(tensor.shape, type->element_bytes) != byte_count) {
    return DataLoss(what + " has a shape and type that do not fit its " +
                    std::to_string(byte_count) + " bytes");
  }
  tensor.bytes = data.subspan(offsets[0], byte_count);
  return tensor;
}

// The data must be covered exactly: a gap could hide bytes, an overlap could share them.
Status CheckCoverage(const std::vector<FileTensor>& tensors, std::span<const std::byte> data) {
  std::vector<const FileTensor*> sorted;
  for (const FileTensor& tensor : tensors) {
    if (!tensor.bytes.empty()) sorted.push_back(&tensor);
  }
  std::sort(sorted.begin(), sorted.end(), [](const FileTensor* a, const FileTensor* b) {
    return a->bytes.data() < b->bytes.data();
  });
  const std::byte* end = data.data();
  for (const FileTensor* tensor : sorted) {
    if (tensor->bytes.data() != end) {
      return DataLoss(
          "tensor " + Printable(tensor->name) +
          (tensor->bytes.data() < end ? " overlaps the one before it" : " leaves a gap before it"));
    }
    end += tensor->bytes.size();
  }
  if (end != data.data() + data.size()) {
    return DataLoss("the file has bytes behind its last tensor");
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<FileTensor>> ParseSafetensors(std::span<const std::byte> bytes) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes) {
    return DataLoss("the file is too short for a safetensors header");
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  if (header_bytes > kHeaderBytesMax) {
    return InvalidArgument("the safetensors header has " + std::to_string(header_bytes) +
                           " bytes, at most " + std::to_string(kHeaderBytesMax) + " are allowed");
  }
  if (header_bytes > bytes.size() - sizeof header_bytes) {
    return DataLoss("the file ends at byte " + std::to_string(bytes.size()) +
                    " inside the safetensors header of " + std::to_string(header_bytes) + " bytes");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof header_bytes,
                              header_bytes);
  Result<Json> header = ParseJson(text, {.depth_max = 8, .byte_count_max = kHeaderBytesMax});
  if (!header.ok()) return header.status().WithContext("safetensors header");
  if (!header->is_object()) return DataLoss("the safetensors header is not a JSON object");
  if (header->size() > kTensorCountMax) {
    return InvalidArgument("the safetensors header names " + std::to_string(header->size()) +
                           " tensors, at most " + std::to_string(kTensorCountMax) + " are allowed");
  }
  const std::span<const std::byte> data = bytes.subspan(sizeof header_bytes + header_bytes);
  std::vector<FileTensor> tensors;
  std::set<std::string_view> names;
  for (const auto& [name, json] : header->items()) {
    if (name == "__metadata__") continue;
    if (!names.insert(name).second) return DataLoss("tensor " + Printable(name) + " occurs twice");
    KVASIR_ASSIGN_OR_RETURN(FileTensor tensor, ReadTensor(name, json, data));
    tensors.push_back(std::move(tensor));
  }
  KVASIR_RETURN_IF_ERROR(CheckCoverage(tensors, data));
  return tensors;
}

Result<std::vector<std::string>> ReadShardNames(std::string_view index_json) {
  KVASIR_ASSIGN_OR_RETURN(const Json index, ParseJson(index_json, {.depth_max = 8}));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return DataLoss("weight_map is missing or not an object");
  }
  std::set<std::string> names;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    if (!shard.is_string()) {
      return DataLoss("weight_map has no file name for tensor " + Printable(tensor));
    }
    const std::string& name = shard.get_ref<const std::string&>();
    if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
        name.size() > 255 || !name.ends_with(".safetensors")) {
      return InvalidArgument("weight_map names the file \"" + Printable(name) +
                             "\", allowed are plain file names that end in .safetensors");
    }
    names.insert(name);
  }
  if (names.empty() || names.size() > kShardCountMax) {
    return InvalidArgument("weight_map names " + std::to_string(names.size()) +
                           " files, allowed are 1 to " + std::to_string(kShardCountMax));
  }
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace kvasir
