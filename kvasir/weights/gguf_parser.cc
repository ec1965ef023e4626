// The parser behind GgufFile::Parse.

#include <algorithm>
#include <cstring>
#include <optional>

#include "kvasir/weights/gguf.h"
#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

// Far above any real model, low enough that hostile files are refused before they cost anything.
constexpr uint64_t kEntryCountMax = 65536;
constexpr uint64_t kTensorCountMax = 65536;
constexpr uint64_t kKeyBytesMax = 65535;        // GGUF's own limit
constexpr uint64_t kTensorNameBytesMax = 1024;  // ggml's own is 64
constexpr uint64_t kStringBytesMax = 16 << 20;
constexpr uint64_t kArrayElementsMax = 16 << 20;
constexpr uint32_t kDimensionsMax = 4;
constexpr int kArrayDepthMax = 4;
constexpr uint64_t kAlignmentDefault = 32;
constexpr uint64_t kAlignmentMax = 1 << 20;

struct TensorType {
  uint32_t number;  // ggml's enum ggml_type
  std::string_view name;
  std::optional<DType> dtype;
};

constexpr TensorType kTensorTypes[] = {
    {0, "F32", DType::kF32},       {1, "F16", DType::kF16},      {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},     {6, "Q5_0", DType::kQ5_0},    {7, "Q5_1", DType::kQ5_1},
    {8, "Q8_0", DType::kQ8_0},     {12, "Q4_K", DType::kQ4_K},   {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},    {30, "BF16", DType::kBF16},   {9, "Q8_1", std::nullopt},
    {10, "Q2_K", std::nullopt},    {11, "Q3_K", std::nullopt},   {15, "Q8_K", std::nullopt},
    {16, "IQ2_XXS", std::nullopt}, {17, "IQ2_XS", std::nullopt}, {18, "IQ3_XXS", std::nullopt},
    {19, "IQ1_S", std::nullopt},   {20, "IQ4_NL", std::nullopt}, {21, "IQ3_S", std::nullopt},
    {22, "IQ2_S", std::nullopt},   {23, "IQ4_XS", std::nullopt}, {24, "I8", std::nullopt},
    {25, "I16", std::nullopt},     {26, "I32", std::nullopt},    {27, "I64", std::nullopt},
    {28, "F64", std::nullopt},     {29, "IQ1_M", std::nullopt},  {34, "TQ1_0", std::nullopt},
    {35, "TQ2_0", std::nullopt},   {39, "MXFP4", std::nullopt},  {40, "NVFP4", std::nullopt},
    {41, "Q1_0", std::nullopt},
};

// Bytes of a value of fixed size; 0 for strings and arrays.
uint64_t FixedBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

template <typename T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

GgufValue FixedValue(GgufType type, const std::byte* p) {
  switch (type) {
    case GgufType::kUint8:
      return uint64_t{Load<uint8_t>(p)};
    case GgufType::kInt8:
      return int64_t{Load<int8_t>(p)};
    case GgufType::kUint16:
      return uint64_t{Load<uint16_t>(p)};
    case GgufType::kInt16:
      return int64_t{Load<int16_t>(p)};
    case GgufType::kUint32:
      return uint64_t{Load<uint32_t>(p)};
    case GgufType::kInt32:
      return int64_t{Load<int32_t>(p)};
    case GgufType::kFloat32:
      return double{Load<float>(p)};
    case GgufType::kUint64:
      return Load<uint64_t>(p);
    case GgufType::kInt64:
      return Load<int64_t>(p);
    case GgufType::kFloat64:
      return Load<double>(p);
    default:
      return Load<uint8_t>(p) != 0;
  }
}

}  // namespace

// Reads the bytes from front to back. `what` names the field for the message of a failure.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, GgufFile* file) : bytes_(bytes), file_(*file) {}

  Status Run() {
    uint64_t tensor_count = 0, entry_count = 0;
    KVASIR_RETURN_IF_ERROR(ReadHeader(&tensor_count, &entry_count));
    for (uint64_t i = 0; i < entry_count; ++i) KVASIR_RETURN_IF_ERROR(ReadEntry());
    KVASIR_RETURN_IF_ERROR(ReadAlignment());
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensor_count; ++i) {
      KVASIR_ASSIGN_OR_RETURN(const uint64_t offset, ReadTensorInfo());
      offsets.push_back(offset);
    }
    return PlaceTensors(offsets);
  }

 private:
  uint64_t remaining() const { return bytes_.size() - position_; }

  Status Truncated(std::string_view what) const {
    return DataLoss("the file ends at byte " + std::to_string(bytes_.size()) + " inside " +
                    std::string(what));
  }

  template <typename T>
  Status Read(std::string_view what, T* value) {
    if (remaining() < sizeof(T)) return Truncated(what);
    *value = Load<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return OkStatus();
  }

  Status ReadString(std::string_view what, uint64_t byte_count_max, std::string_view* text) {
    uint64_t byte_count = 0;
    KVASIR_RETURN_IF_ERROR(Read(what, &byte_count));
    if (byte_count > byte_count_max) {
      return InvalidArgument(std::string(what) + " has " + std::to_string(byte_count) +
                             " bytes, at most " + std::to_string(byte_count_max) + " are allowed");
    }
    if (byte_count > remaining()) return Truncated(what);
    *text = {reinterpret_cast<const char*>(bytes_.data() + position_), byte_count};
    position_ += byte_count;
    return OkStatus();
  }

  Status ReadHeader(uint64_t* tensor_count, uint64_t* entry_count) {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0) {
      return DataLoss("not a GGUF file: it does not begin with the letters GGUF");
    }
    position_ = 4;
    uint32_t version = 0;
    KVASIR_RETURN_IF_ERROR(Read("the GGUF header", &version));
    if (version == 0x02000000 || version == 0x03000000) {
      return Unimplemented("big-endian GGUF files are not supported");
    }
    if (version != 2 && version != 3) {
      return Unimplemented("GGUF version " + std::to_string(version) +
                           " is not supported, versions 2 and 3 are");
    }
    file_.version_ = version;
    KVASIR_RETURN_IF_ERROR(Read("the GGUF header", tensor_count));
    KVASIR_RETURN_IF_ERROR(Read("the GGUF header", entry_count));
    KVASIR_RETURN_IF_ERROR(CheckCount("the GGUF tensor count", *tensor_count, kTensorCountMax));
    return CheckCount("the GGUF metadata count", *entry_count, kEntryCountMax);
  }

  static Status CheckCount(std::string_view what, uint64_t count, uint64_t count_max) {
    if (count <= count_max) return OkStatus();
    return InvalidArgument(std::string(what) + " is " + std::to_string(count) + ", at most " +
                           std::to_string(count_max) + " are allowed");
  }

  Status ReadEntry() {
    std::string_view key;
    KVASIR_RETURN_IF_ERROR(ReadString("a GGUF metadata key", kKeyBytesMax, &key));
    const std::string what = "GGUF metadata " + Printable(key);
    uint32_t type = 0;
    KVASIR_RETURN_IF_ERROR(Read(what, &type));
    KVASIR_RETURN_IF_ERROR(CheckType(what, type));
    GgufValue value;
    const uint64_t value_begin = position_;
    KVASIR_RETURN_IF_ERROR(ReadValue(what, static_cast<GgufType>(type), &value));
    file_.entries_.push_back(
        {key, static_cast<GgufType>(type), bytes_.subspan(value_begin, position_ - value_begin)});
    if (!file_.metadata_.emplace(std::string(key), std::move(value)).second) {
      return DataLoss(what + " occurs twice");
    }
    return OkStatus();
  }

  static Status CheckType(std::string_view what, uint32_t type) {
    if (type <= static_cast<uint32_t>(GgufType::kFloat64)) return OkStatus();
    return DataLoss(std::string(what) + " has value type " + std::to_string(type) +
                    ", known are 0 to 12");
  }

  Status ReadValue(std::string_view what, GgufType type, GgufValue* value) {
    if (type == GgufType::kString) {
      std::string_view text;
      KVASIR_RETURN_IF_ERROR(ReadString(what, kStringBytesMax, &text));
      *value = text;
      return OkStatus();
    }
    if (type == GgufType::kArray) {
      GgufArray array;
      KVASIR_RETURN_IF_ERROR(ReadArray(what, 1, &array));
      *value = std::move(array);
      return OkStatus();
    }
    if (remaining() < FixedBytes(type)) return Truncated(what);
    *value = FixedValue(type, bytes_.data() + position_);
    position_ += FixedBytes(type);
    return OkStatus();
  }

  Status ReadArray(std::string_view what, int depth, GgufArray* array) {
    if (depth > kArrayDepthMax) {
      return InvalidArgument(std::string(what) + " nests arrays deeper than " +
                             std::to_string(kArrayDepthMax) + " levels");
    }
    uint32_t type = 0;
    KVASIR_RETURN_IF_ERROR(Read(what, &type));
    KVASIR_RETURN_IF_ERROR(CheckType(what, type));
    array->element_type = static_cast<GgufType>(type);
    KVASIR_RETURN_IF_ERROR(Read(what, &array->count));
    KVASIR_RETURN_IF_ERROR(
        CheckCount("the element count of " + std::string(what), array->count, kArrayElementsMax));
    if (array->element_type == GgufType::kString) return ReadStrings(what, array);
    if (array->element_type == GgufType::kArray) {
      for (uint64_t i = 0; i < array->count; ++i) {
        GgufArray inner;
        KVASIR_RETURN_IF_ERROR(ReadArray(what, depth + 1, &inner));
      }
      return OkStatus();
    }
    const uint64_t byte_count = array->count * FixedBytes(array->element_type);
    if (byte_count > remaining()) return Truncated(what);
    array->bytes = bytes_.subspan(position_, byte_count);
    position_ += byte_count;
    return OkStatus();
  }

  Status ReadStrings(std::string_view what, GgufArray* array) {
    if (array->count > remaining() / sizeof(uint64_t)) return Truncated(what);
    array->strings.resize(array->count);
    for (std::string_view& text : array->strings) {
      KVASIR_RETURN_IF_ERROR(ReadString(what, kStringBytesMax, &text));
    }
    return OkStatus();
  }

  Status ReadAlignment() {
    const auto it = file_.metadata_.find("general.alignment");
    if (it == file_.metadata_.end()) return OkStatus();
    const uint64_t* value = std::get_if<uint64_t>(&it->second);
    if (value == nullptr || *value == 0 || *value > kAlignmentMax || (*value & (*value - 1)) != 0) {
      return InvalidArgument("GGUF metadata general.alignment is " +
                             (value != nullptr ? std::to_string(*value) : "not a whole number") +
                             ", allowed are powers of two up to " + std::to_string(kAlignmentMax));
    }
    alignment_ = *value;
    return OkStatus();
  }

  // Appends the tensor without its bytes, which nobody knows before the table has been read.
  // Returns its offset.
  Result<uint64_t> ReadTensorInfo() {
    std::string_view name;
    KVASIR_RETURN_IF_ERROR(ReadString("a GGUF tensor name", kTensorNameBytesMax, &name));
    const std::string what = "tensor " + Printable(name);
    FileTensor tensor;
    tensor.name = name;
    uint32_t dimension_count = 0, type = 0;
    KVASIR_RETURN_IF_ERROR(Read(what, &dimension_count));
    if (dimension_count < 1 || dimension_count > kDimensionsMax) {
      return DataLoss(what + " has " + std::to_string(dimension_count) +
                      " dimensions, allowed are 1 to " + std::to_string(kDimensionsMax));
    }
    tensor.shape.resize(dimension_count);
    for (uint64_t& dimension : tensor.shape) KVASIR_RETURN_IF_ERROR(Read(what, &dimension));
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    KVASIR_RETURN_IF_ERROR(Read(what, &type));
    KVASIR_RETURN_IF_ERROR(SetType(what, type, &tensor));
    uint64_t offset = 0;
    KVASIR_RETURN_IF_ERROR(Read(what, &offset));
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return DataLoss(what + " occurs twice");
    }
    file_.tensors_.push_back(std::move(tensor));
    return offset;
  }

  static Status SetType(std::string_view what, uint32_t number, FileTensor* tensor) {
    const auto* type = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                    [number](const TensorType& t) { return t.number == number; });
    const bool known = type != std::end(kTensorTypes);
    if (!known || !type->dtype.has_value()) {
      return Unimplemented(std::string(what) + " has the type " +
                           (known ? std::string(type->name) : "number " + std::to_string(number)) +
                           ", supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, "
                           "Q5_K and Q6_K");
    }
    tensor->dtype = type->dtype;
    tensor->type_name = type->name;
    return OkStatus();
  }

  // Bytes of a tensor by shape and type, with every product checked.
  static Result<uint64_t> TensorBytes(const FileTensor& tensor) {
    const DTypeInfo& info = GetDTypeInfo(*tensor.dtype);
    const std::string what = "tensor " + Printable(tensor.name);
    uint64_t element_count = 1;
    for (const uint64_t dimension : tensor.shape) {
      if (dimension == 0) return DataLoss(what + " has a dimension of 0");
      if (__builtin_mul_overflow(element_count, dimension, &element_count)) {
        return DataLoss(what + " has dimensions whose product exceeds 64 bits");
      }
    }
    if (tensor.shape.back() % info.block_elements != 0) {
      return DataLoss(what + " has rows of " + std::to_string(tensor.shape.back()) +
                      " numbers, not a multiple of the " + std::to_string(info.block_elements) +
                      " in a block of " + std::string(info.name));
    }
    uint64_t byte_count = 0;
    if (__builtin_mul_overflow(element_count / info.block_elements, uint64_t{info.block_bytes},
                               &byte_count)) {
      return DataLoss(what + " has a size that exceeds 64 bits");
    }
    return byte_count;
  }

  // Gives each tensor its bytes: aligned, inside the file, apart from each other.
  Status PlaceTensors(const std::vector<uint64_t>& offsets) {
    const uint64_t data_begin = (position_ + alignment_ - 1) / alignment_ * alignment_;
    if (!offsets.empty() && data_begin > bytes_.size()) return Truncated("the tensor table");
    for (size_t i = 0; i < offsets.size(); ++i) {
      FileTensor& tensor = file_.tensors_[i];
      KVASIR_ASSIGN_OR_RETURN(const uint64_t byte_count, TensorBytes(tensor));
      const std::string what = "tensor " + Printable(tensor.name);
      if (offsets[i] % alignment_ != 0) {
        return DataLoss(what + " has the offset " + std::to_string(offsets[i]) +
                        ", not a multiple of the alignment " + std::to_string(alignment_));
      }
      const uint64_t data_bytes = bytes_.size() - data_begin;
      if (offsets[i] > data_bytes || byte_count > data_bytes - offsets[i]) {
        return DataLoss(what + " (" + std::to_string(byte_count) + " bytes at offset " +
                        std::to_string(offsets[i]) + ") reaches beyond the end of the file, " +
                        "which holds " + std::to_string(data_bytes) + " bytes of tensors");
      }
      tensor.bytes = bytes_.subspan(data_begin + offsets[i], byte_count);
    }
    return CheckOverlaps();
  }

  Status CheckOverlaps() const {
    std::vector<const FileTensor*> sorted;
    for (const FileTensor& tensor : file_.tensors_) sorted.push_back(&tensor);
    std::sort(sorted.begin(), sorted.end(), [](const FileTensor* a, const FileTensor* b) {
      return a->bytes.data() < b->bytes.data();
    });
    for (size_t i = 1; i < sorted.size(); ++i) {
      const FileTensor &before = *sorted[i - 1], &after = *sorted[i];
      if (before.bytes.data() + before.bytes.size() > after.bytes.data()) {
        return DataLoss("tensors " + Printable(before.name) + " and " + Printable(after.name) +
                        " overlap");
      }
    }
    return OkStatus();
  }

  std::span<const std::byte> bytes_;
  GgufFile& file_;
  uint64_t position_ = 0;
  uint64_t alignment_ = kAlignmentDefault;
};

uint32_t GgufTensorTypeNumber(DType dtype) {
  const auto* type = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                  [dtype](const TensorType& t) { return t.dtype == dtype; });
  KVASIR_CHECK(type != std::end(kTensorTypes));
  return type->number;
}

Result<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes) {
  GgufFile file;
  KVASIR_RETURN_IF_ERROR(GgufParser(bytes, &file).Run());
  return file;
}

}  // namespace kvasir
