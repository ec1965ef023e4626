#include "kvasir/attention/variant_library.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "kvasir/base/mapped_file.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

// More than anybody writes into one header; bounds what a broken table makes us read.
constexpr uint32_t kVariantsMax = 4096;
constexpr uint64_t kParamsBytesMax = uint64_t{1} << 30;

constexpr std::string_view kMarker = KVASIR_ATTENTION_VARIANT_MARKER;

// Whether the bytes of the file can be an object of variants: asked before its code may run.
Status CheckFile(const std::string& path) {
  KVASIR_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  if (bytes.starts_with("\177ELF") && bytes.find(kMarker) != std::string_view::npos) {
    return OkStatus();
  }
  return DataLoss("'" + path +
                  "' is not a shared object of attention variants, such as kvasir attention build "
                  "makes");
}

Status CheckTable(const AttentionVariantTable& table, const std::string& path) {
  if (std::memcmp(table.marker, kMarker.data(), kMarker.size()) != 0) {
    return DataLoss("'" + path + "' has a broken table of attention variants");
  }
  if (table.abi != kAttentionVariantAbi || table.row_bytes != sizeof(AttentionRow) ||
      table.span_bytes != sizeof(SoftmaxSpan)) {
    return Unimplemented("'" + path + "' has attention variants of version " +
                         std::to_string(table.abi) + ", this Kvasir reads version " +
                         std::to_string(kAttentionVariantAbi) + ": build it again");
  }
  if (table.count == 0 || table.count > kVariantsMax || table.variants == nullptr) {
    return DataLoss("'" + path + "' has " + std::to_string(table.count) +
                    " attention variants, allowed is 1 to " + std::to_string(kVariantsMax));
  }
  for (uint32_t i = 0; i < table.count; ++i) {
    const AttentionVariantDescriptor& variant = table.variants[i];
    const uint64_t alignment = variant.params_alignment;
    if (variant.name == nullptr || variant.softmax[0] == nullptr || alignment == 0 ||
        (alignment & (alignment - 1)) != 0 || variant.params_bytes > kParamsBytesMax) {
      return DataLoss("'" + path + "' has a broken description of attention variant " +
                      std::to_string(i));
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<LoadedAttentionVariant>> LoadAttentionVariants(const std::string& path) {
  KVASIR_RETURN_IF_ERROR(CheckFile(path));
  // A name without a slash would be looked for among the system's libraries.
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(path, error).string();
  void* object = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    return DataLoss("'" + path + "' cannot be loaded: " + std::string(dlerror()));
  }
  const void* symbol = dlsym(object, kAttentionVariantSymbol);
  if (symbol == nullptr) {
    return DataLoss("'" + path + "' does not export " + std::string(kAttentionVariantSymbol));
  }
  const auto& table = *static_cast<const AttentionVariantTable*>(symbol);
  KVASIR_RETURN_IF_ERROR(CheckTable(table, path));
  std::vector<LoadedAttentionVariant> variants;
  for (uint32_t i = 0; i < table.count; ++i) {
    const AttentionVariantDescriptor& from = table.variants[i];
    LoadedAttentionVariant variant = {.name = from.name,
                                      .params_bytes = size_t(from.params_bytes),
                                      .params_alignment = size_t(from.params_alignment),
                                      .use_softmax = from.use_softmax != 0};
    for (size_t target = 0; target < kAttentionVariantTargets; ++target) {
      const bool is_there = from.softmax[target] != nullptr;
      variant.softmax[target] = is_there ? from.softmax[target] : variant.softmax[target - 1];
    }
    variants.push_back(std::move(variant));
  }
  return variants;
}

Result<AttentionVariant> BindAttentionVariant(const LoadedAttentionVariant& variant,
                                              std::span<const std::byte> params) {
  if (params.size() != variant.params_bytes) {
    return InvalidArgument("the parameters of variant " + variant.name + " have " +
                           std::to_string(params.size()) + " bytes, its struct has " +
                           std::to_string(variant.params_bytes));
  }
  if (reinterpret_cast<uintptr_t>(params.data()) % variant.params_alignment != 0) {
    return InvalidArgument("the parameters of variant " + variant.name +
                           " are not at a multiple of " + std::to_string(variant.params_alignment) +
                           " bytes");
  }
  // A struct without members still has an address.
  static constexpr std::max_align_t kNothing = {};
  return AttentionVariant{
      .softmax = variant.softmax[size_t(ActiveCpuTarget())],
      .params = params.empty() ? static_cast<const void*>(&kNothing) : params.data(),
      .use_softmax = variant.use_softmax};
}

}  // namespace kvasir
