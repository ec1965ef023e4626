// GgufFile: a GGUF file, version 2 or 3, little-endian: metadata and a table of tensors. Parse
// trusts nothing: every count, length, type, dimension and offset is checked against the bytes that
// are there before it is used. Immutable after parsing; any thread may read. Strings, arrays and
// tensors point into the bytes given to Parse and live as long as they do.
//
//   | "GGUF" 4 | version u32 | tensor count u64 | entry count u64 |
//   entry count times:   | key: string | type u32 | value |
//   tensor count times:  | name: string | dimension count u32 | dimensions u64 each | type u32 |
//                        | offset u64 |
//   padding to a multiple of general.alignment (32 unless given), from here offsets count
//   tensor data, each tensor at a multiple of the alignment
//
//   string: | byte count u64 | bytes |     array: | element type u32 | count u64 | elements |
//
// Dimensions are stored innermost first: [cols, rows].

#ifndef KVASIR_WEIGHTS_GGUF_H_
#define KVASIR_WEIGHTS_GGUF_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/weights/field_reader.h"
#include "kvasir/weights/file_tensor.h"

namespace kvasir {

enum class GgufType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

struct GgufArray {
  GgufType element_type = GgufType::kUint8;
  uint64_t count = 0;
  std::span<const std::byte> bytes;       // the elements, for types of fixed size
  std::vector<std::string_view> strings;  // for kString; arrays of arrays are checked, not kept
};

// A metadata entry as it lies in the file, for copying it into another.
struct GgufEntry {
  std::string_view key;
  GgufType type = GgufType::kUint8;
  std::span<const std::byte> value;  // what follows the type
};

// ggml's number of a tensor type.
uint32_t GgufTensorTypeNumber(DType dtype);

using GgufValue = std::variant<bool, uint64_t, int64_t, double, std::string_view, GgufArray>;

class GgufFile : public FieldSource {
 public:
  // kDataLoss for truncated or inconsistent bytes, kUnimplemented for other versions and tensor
  // types, kInvalidArgument for what exceeds a limit.
  static Result<GgufFile> Parse(std::span<const std::byte> bytes);

  uint32_t version() const { return version_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  // The same in the order of the file, as bytes.
  const std::vector<GgufEntry>& entries() const { return entries_; }
  const std::vector<FileTensor>& tensors() const { return tensors_; }
  // Null when there is no such tensor.
  const FileTensor* FindTensor(std::string_view name) const;

  FieldValue Find(std::string_view key) const override;
  std::string_view description() const override { return "the GGUF metadata"; }

  // The array `key`; empty when absent. kInvalidArgument when it is something else.
  Result<std::vector<std::string>> Strings(std::string_view key) const;
  Result<std::vector<float>> Floats(std::string_view key) const;
  Result<std::vector<int32_t>> Ints(std::string_view key) const;
  Result<std::vector<bool>> Bools(std::string_view key) const;

 private:
  friend class GgufParser;

  // Null when absent; kInvalidArgument when it is not an array of `element_type`.
  Result<const GgufArray*> FindArray(std::string_view key, GgufType element_type) const;

  uint32_t version_ = 0;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufEntry> entries_;
  std::vector<FileTensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;  // name -> place in tensors_
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_GGUF_H_
