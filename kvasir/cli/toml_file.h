// TomlFile: a TOML file as JSON values, so that nobody else knows the library that reads TOML. Any
// thread.

#ifndef KVASIR_CLI_TOML_FILE_H_
#define KVASIR_CLI_TOML_FILE_H_

#include <string>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace kvasir {

// The root table. kNotFound or kIoError as ReadFile; kInvalidArgument with the line and what is
// wrong there. Dates become strings.
Result<Json> ReadTomlFile(const std::string& path);
Result<Json> ParseToml(const std::string& text, const std::string& name);

}  // namespace kvasir

#endif  // KVASIR_CLI_TOML_FILE_H_
