#include "kvasir/weights/printable.h"

#include <algorithm>

namespace kvasir {

std::string Printable(std::string_view text, size_t byte_count_max) {
  std::string out(text.substr(0, std::min(text.size(), byte_count_max)));
  for (char& c : out) {
    // Names in model files are ASCII; anything else would need a UTF-8 check to be safe to print.
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7F) c = '?';
  }
  if (text.size() > byte_count_max) out += "...";
  return out;
}

}  // namespace kvasir
