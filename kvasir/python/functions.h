// The functions of the Python module that need no plan, for main.cc to add to it: merging states,
// appending to pages, threads.

#ifndef KVASIR_PYTHON_FUNCTIONS_H_
#define KVASIR_PYTHON_FUNCTIONS_H_

#include <pybind11/pybind11.h>

namespace kvasir {

void BindFunctions(pybind11::module_& module);

}  // namespace kvasir

#endif  // KVASIR_PYTHON_FUNCTIONS_H_
