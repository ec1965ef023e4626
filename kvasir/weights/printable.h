// Printable: bytes from a file made fit for a message: control characters and bytes beyond ASCII
// become '?', long text is cut. Pure function.

#ifndef KVASIR_WEIGHTS_PRINTABLE_H_
#define KVASIR_WEIGHTS_PRINTABLE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace kvasir {

// At most `byte_count_max` bytes of `text`, then "..." when something was cut.
std::string Printable(std::string_view text, size_t byte_count_max = 80);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_PRINTABLE_H_
