// Attention variants of users' own in the Python module: loading the shared objects that `kvasir
// attention build` makes, and binding them to their parameters.

#ifndef KVASIR_PYTHON_VARIANTS_H_
#define KVASIR_PYTHON_VARIANTS_H_

#include <pybind11/pybind11.h>

#include "kvasir/attention/variant.h"
#include "kvasir/base/aligned_buffer.h"

namespace kvasir {

// A variant with a copy of its parameters. Shared by the plans that use it.
struct BoundVariant {
  AttentionVariant variant;
  AlignedBuffer params;
};

void BindVariants(pybind11::module_& module);

}  // namespace kvasir

#endif  // KVASIR_PYTHON_VARIANTS_H_
