// The version of the program, as in CMakeLists.txt: said by --version and by the server.

#ifndef KVASIR_CLI_VERSION_H_
#define KVASIR_CLI_VERSION_H_

#include <string_view>

namespace kvasir {

inline constexpr std::string_view kKvasirVersion = "0.1.0";

}  // namespace kvasir

#endif  // KVASIR_CLI_VERSION_H_
