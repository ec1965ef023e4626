// Loads the shared objects that `kvasir attention build` makes, and binds parameters to the
// attention variants in them. Loading a shared object runs its code with the rights of this
// process: load only files that you would run as programs. What is checked here finds mistakes (a
// wrong file, another version), not malice. Any thread.

#ifndef KVASIR_ATTENTION_VARIANT_LIBRARY_H_
#define KVASIR_ATTENTION_VARIANT_LIBRARY_H_

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvasir/attention/variant.h"
#include "kvasir/attention/variant_abi.h"
#include "kvasir/base/status.h"

namespace kvasir {

// One variant of a loaded object. A value.
struct LoadedAttentionVariant {
  std::string name;             // of the user's struct
  size_t params_bytes = 0;      // of the struct; 0: it has no members
  size_t params_alignment = 1;  // of its address
  bool use_softmax = true;
  std::array<AttentionSoftmaxFunction, kAttentionVariantTargets> softmax = {};  // by CpuTarget
};

// The variants of the object at `path`, in the order of their header. The object stays loaded until
// the process ends; a path that is loaded again gives the object of the first time, whatever lies
// there by then. kNotFound, kDataLoss (not an object of variants, or a broken one) or
// kUnimplemented (of another version) names the path.
Result<std::vector<LoadedAttentionVariant>> LoadAttentionVariants(const std::string& path);

// `variant` with `params`, the bytes of the user's struct, for AttentionSpec::variant, on the
// CpuTarget in force now. The bytes are not copied: they must outlive the plans that use the
// result, and may change between runs. kInvalidArgument when size or alignment are not the
// struct's.
Result<AttentionVariant> BindAttentionVariant(const LoadedAttentionVariant& variant,
                                              std::span<const std::byte> params);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_VARIANT_LIBRARY_H_
