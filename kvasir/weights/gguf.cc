#include "kvasir/weights/gguf.h"

#include <cstring>

namespace kvasir {

const FileTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto it = tensor_index_.find(name);
  return it == tensor_index_.end() ? nullptr : &tensors_[it->second];
}

FieldValue GgufFile::Find(std::string_view key) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) return FieldAbsent{};
  return std::visit(
      [](const auto& value) -> FieldValue {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, GgufArray>) {
          return FieldOther{"an array"};
        } else {
          return value;
        }
      },
      it->second);
}

Result<const GgufArray*> GgufFile::FindArray(std::string_view key, GgufType element_type) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) return nullptr;
  const GgufArray* array = std::get_if<GgufArray>(&it->second);
  if (array == nullptr || array->element_type != element_type) {
    return InvalidArgument("GGUF metadata " + std::string(key) + " must be an array of type " +
                           std::to_string(static_cast<uint32_t>(element_type)));
  }
  return array;
}

Result<std::vector<std::string>> GgufFile::Strings(std::string_view key) const {
  KVASIR_ASSIGN_OR_RETURN(const GgufArray* array, FindArray(key, GgufType::kString));
  if (array == nullptr) return std::vector<std::string>();
  return std::vector<std::string>(array->strings.begin(), array->strings.end());
}

Result<std::vector<float>> GgufFile::Floats(std::string_view key) const {
  KVASIR_ASSIGN_OR_RETURN(const GgufArray* array, FindArray(key, GgufType::kFloat32));
  std::vector<float> values(array == nullptr ? 0 : array->count);
  if (!values.empty()) std::memcpy(values.data(), array->bytes.data(), array->bytes.size());
  return values;
}

Result<std::vector<int32_t>> GgufFile::Ints(std::string_view key) const {
  KVASIR_ASSIGN_OR_RETURN(const GgufArray* array, FindArray(key, GgufType::kInt32));
  std::vector<int32_t> values(array == nullptr ? 0 : array->count);
  if (!values.empty()) std::memcpy(values.data(), array->bytes.data(), array->bytes.size());
  return values;
}

Result<std::vector<bool>> GgufFile::Bools(std::string_view key) const {
  KVASIR_ASSIGN_OR_RETURN(const GgufArray* array, FindArray(key, GgufType::kBool));
  std::vector<bool> values;
  if (array == nullptr) return values;
  for (const std::byte b : array->bytes) values.push_back(b != std::byte{0});
  return values;
}

}  // namespace kvasir
