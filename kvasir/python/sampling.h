// The sampling functions of the Python module, for main.cc to add to it: every filter at once on
// logits or probabilities, and the verification of speculative drafts.

#ifndef KVASIR_PYTHON_SAMPLING_H_
#define KVASIR_PYTHON_SAMPLING_H_

#include <pybind11/pybind11.h>

namespace kvasir {

void BindSampling(pybind11::module_& module);

}  // namespace kvasir

#endif  // KVASIR_PYTHON_SAMPLING_H_
