// The checks of arguments that batch_sampling.cc and speculative_sampling.cc share. A parameter
// wrongly given becomes a Status that names it, the value found and what is allowed. Pure
// functions.

#ifndef KVASIR_KERNELS_SAMPLING_CHECKS_H_
#define KVASIR_KERNELS_SAMPLING_CHECKS_H_

#include <cstddef>
#include <sstream>
#include <string>
#include <string_view>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/kernels/batch_sampling.h"

namespace kvasir {

// "top_p[3]": where a wrong value stands.
inline std::string ElementName(std::string_view name, size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

// The size of a span.
inline Status CheckSize(std::string_view name, size_t size, size_t expected) {
  if (size == expected) return OkStatus();
  return InvalidArgument(std::string(name) + " has " + std::to_string(size) +
                         " elements, it must have " + std::to_string(expected));
}

// One value, or one for each of `row_count` output rows.
template <typename T>
Status CheckPerRow(std::string_view name, const PerRow<T>& values, size_t row_count) {
  if (!values.is_each() || values.size() == row_count) return OkStatus();
  return InvalidArgument(std::string(name) + " has " + std::to_string(values.size()) +
                         " values, it must have 1 or " + std::to_string(row_count) +
                         ", one for each output row");
}

// Likewise, and each in [lowest, highest].
template <typename T>
Status CheckRange(std::string_view name, const PerRow<T>& values, T lowest, T highest,
                  size_t row_count) {
  KVASIR_RETURN_IF_ERROR(CheckPerRow(name, values, row_count));
  for (size_t i = 0; i < values.size(); ++i) {
    const T value = values[i];
    if (value >= lowest && value <= highest) continue;  // false for NaN
    std::ostringstream message;
    message << (values.is_each() ? ElementName(name, i) : std::string(name)) << " is " << value
            << ", allowed is " << lowest << " to " << highest;
    return InvalidArgument(message.str());
  }
  return OkStatus();
}

template <typename T>
Status CheckShape(std::string_view name, MatrixView<T> matrix, size_t rows, size_t cols) {
  if (matrix.rows() == rows && matrix.cols() == cols) return OkStatus();
  return InvalidArgument(std::string(name) + " is " + std::to_string(matrix.rows()) + " x " +
                         std::to_string(matrix.cols()) + ", it must be " + std::to_string(rows) +
                         " x " + std::to_string(cols));
}

template <typename T>
Status CheckVocabSize(std::string_view name, MatrixView<T> matrix) {
  if (matrix.rows() == 0 || (matrix.cols() >= 1 && matrix.cols() <= kVocabSizeMax)) {
    return OkStatus();
  }
  return InvalidArgument(std::string(name) + " has " + std::to_string(matrix.cols()) +
                         " columns, allowed is 1 to " + std::to_string(kVocabSizeMax));
}

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SAMPLING_CHECKS_H_
