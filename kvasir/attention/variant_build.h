// BuildAttentionVariants: compiles a user's header of attention variants (variant_source.h) for
// every instruction set into one shared object, which LoadAttentionVariants (variant_library.h)
// reads. What `kvasir attention build` does.
//
// Needs a C++20 compiler, Highway's headers and the headers of Kvasir at run time, and nothing
// else: the shared object stands alone. Objects are kept in a cache by the hash of everything that
// goes into them (the header, Kvasir's headers, the compiler and its version), so that a second
// build only looks. A header is a program of the user's own: build those that you trust. Any
// thread, and several processes at once.

#ifndef KVASIR_ATTENTION_VARIANT_BUILD_H_
#define KVASIR_ATTENTION_VARIANT_BUILD_H_

#include <string>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

struct VariantBuildOptions {
  std::string output = {};       // where a copy of the object goes; empty = it stays in the cache
  std::string cache_dir = {};    // empty = ${XDG_CACHE_HOME:-~/.cache}/kvasir/variants
  std::string compiler = {};     // may have arguments, after blanks; empty = $CXX, or else g++
  std::string include_dir = {};  // holds kvasir/attention/variant-inl.h; empty = $KVASIR_INCLUDE,
                                 // or else the source tree that this library was built from
};

struct VariantBuild {
  std::string path;                // of the shared object: the output, or its place in the cache
  std::vector<std::string> names;  // of the variants
  bool compiled = false;           // false: it was in the cache
};

// Builds the variants of the header at `header_path`. kInvalidArgument when the header is not one,
// or does not compile; kNotFound when the compiler, Highway or Kvasir's headers are missing.
// *messages is what the compiler said, errors or warnings, with the header's own line numbers.
Result<VariantBuild> BuildAttentionVariants(const std::string& header_path,
                                            const VariantBuildOptions& options,
                                            std::string* messages);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_VARIANT_BUILD_H_
