// Settings: the options of a long-running command, from four sources: built-in defaults, a TOML
// file, the environment and flags, each stronger than the one before. One table says for every
// setting its name, type, bounds and meaning; --max-connections, KVASIR_MAX_CONNECTIONS and
// max_connections in the file are the same setting. Main thread.

#ifndef KVASIR_CLI_SETTINGS_H_
#define KVASIR_CLI_SETTINGS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace CLI {
class App;
}

namespace kvasir {

class Settings {
 public:
  // Each adds a setting that writes its target, which must outlive this object. `name` as in the
  // flag, without dashes before it. Values are read as flags.h reads them.
  void AddCount(std::string name, size_t* target, size_t min, size_t max, std::string help);
  void AddCount(std::string name, uint32_t* target, uint32_t min, uint32_t max, std::string help);
  void AddNumber(std::string name, double* target, double min, double max, std::string help);
  void AddBytes(std::string name, size_t* target, size_t min, size_t max, std::string help);
  void AddText(std::string name, std::string* target, std::string help);
  void AddTexts(std::string name, std::vector<std::string>* target, std::string help);
  void AddChoice(std::string name, std::string* target, std::vector<std::string> choices,
                 std::string help);
  // A text that `accepts` takes, one of `listed`.
  void AddName(std::string name, std::string* target, std::string listed,
               std::function<bool(const std::string&)> accepts, std::string help);
  void AddSwitch(std::string name, bool* target, std::string help);

  // Registers a flag for each setting; what the command line says is kept for Apply. This object
  // must outlive the parsing.
  void AddFlags(CLI::App& app);

  // Reads the sources in order. `toml_path`: empty for no file. `environment`: the value of a
  // variable, null when it is not set. kInvalidArgument names the source, the setting, the value
  // and what is allowed; an unknown key of the file is refused with the nearest known one.
  using Environment = std::function<const char*(const char* name)>;
  Status Apply(const std::string& toml_path, const Environment& environment);

  // All settings with their values and where they came from, as a TOML file.
  std::string Print() const;

  // Variables of the environment that look like settings and are none: for a warning.
  std::vector<std::string> UnknownVariables(const char* const* environ_list) const;

 private:
  template <typename T>
  void AddWholeNumber(std::string name, T* target, T min, T max, std::string help);
  struct Setting {
    std::string name;
    std::string type_name;
    std::string help;
    bool is_switch = false;
    bool is_list = false;
    // Takes the texts of a value; a sentence when it is not allowed.
    std::function<Status(const std::vector<std::string>&)> set;
    std::function<Json()> get;
    std::string origin = "default";
    std::vector<std::string> flag_values;
    bool flag_given = false;
  };

  Setting& Add(std::string name, std::string type_name, std::string help,
               std::function<Status(const std::string&)> set, std::function<Json()> get);
  Status ApplyFile(const std::string& path);

  std::vector<Setting> settings_;
};

// "max-connections" -> "KVASIR_MAX_CONNECTIONS", "max_connections".
std::string VariableName(std::string_view setting_name);
std::string TomlKey(std::string_view setting_name);

}  // namespace kvasir

#endif  // KVASIR_CLI_SETTINGS_H_
