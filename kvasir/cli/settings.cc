#include "kvasir/cli/settings.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "kvasir/cli/flags.h"
#include "kvasir/cli/toml_file.h"

namespace kvasir {

namespace {

Status Refuse(const std::string& value, const std::string& allowed) {
  return InvalidArgument("'" + value + "' is not " + allowed);
}

// The texts of a value from the file; nullopt when it has a type that no setting has.
std::optional<std::vector<std::string>> TextsOf(const Json& value) {
  if (value.is_string()) return std::vector{value.get<std::string>()};
  if (value.is_boolean() || value.is_number()) return std::vector{DumpJson(value)};
  if (!value.is_array()) return std::nullopt;
  std::vector<std::string> texts;
  for (const Json& element : value) {
    if (!element.is_string()) return std::nullopt;
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

// Variables of the scripts and of building, which are no settings.
bool IsOtherVariable(std::string_view name) {
  constexpr std::string_view kOthers[] = {"KVASIR_NO_APT",  "KVASIR_ROOT",      "KVASIR_CACHE",
                                          "KVASIR_API_KEY", "KVASIR_ADMIN_KEY", "KVASIR_CONFIG"};
  return std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers);
}

}  // namespace

std::string VariableName(std::string_view setting_name) {
  std::string name = "KVASIR_";
  for (const char c : setting_name) {
    name.push_back(c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
  }
  return name;
}

std::string TomlKey(std::string_view setting_name) {
  std::string key(setting_name);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

Settings::Setting& Settings::Add(std::string name, std::string type_name, std::string help,
                                 std::function<Status(const std::string&)> set,
                                 std::function<Json()> get) {
  Setting& setting = settings_.emplace_back();
  setting.name = std::move(name);
  setting.type_name = std::move(type_name);
  setting.help = std::move(help);
  setting.set = [set = std::move(set)](const std::vector<std::string>& values) {
    if (values.size() == 1) return set(values[0]);
    return InvalidArgument("one value is needed, not " + std::to_string(values.size()));
  };
  setting.get = std::move(get);
  return setting;
}

template <typename T>
void Settings::AddWholeNumber(std::string name, T* target, T min, T max, std::string help) {
  Add(
      std::move(name), "N", std::move(help),
      [=](const std::string& text) {
        const auto value = ParseUnsigned(text);
        if (!value || *value < min || *value > max) {
          return Refuse(
              text, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
        }
        *target = static_cast<T>(*value);
        return OkStatus();
      },
      [=] { return Json(*target); });
}

void Settings::AddCount(std::string name, size_t* target, size_t min, size_t max,
                        std::string help) {
  AddWholeNumber(std::move(name), target, min, max, std::move(help));
}

void Settings::AddCount(std::string name, uint32_t* target, uint32_t min, uint32_t max,
                        std::string help) {
  AddWholeNumber(std::move(name), target, min, max, std::move(help));
}

void Settings::AddNumber(std::string name, double* target, double min, double max,
                         std::string help) {
  Add(
      std::move(name), "X", std::move(help),
      [=](const std::string& text) {
        const auto value = ParseFloat(text);
        if (!value || !(*value >= min && *value <= max)) {
          return Refuse(text, "a number from " + DumpJson(min) + " to " + DumpJson(max));
        }
        *target = static_cast<double>(*value);
        return OkStatus();
      },
      [=] { return Json(*target); });
}

void Settings::AddBytes(std::string name, size_t* target, size_t min, size_t max,
                        std::string help) {
  Add(
      std::move(name), "BYTES", std::move(help),
      [=](const std::string& text) {
        const auto value = ParseBytes(text);
        if (!value || *value < min || *value > max) {
          return Refuse(text, "a size such as 512M or 2G, from " +
                                  FormatBytes(static_cast<double>(min)) + " to " +
                                  FormatBytes(static_cast<double>(max)));
        }
        *target = *value;
        return OkStatus();
      },
      [=] { return Json(*target); });
}

void Settings::AddText(std::string name, std::string* target, std::string help) {
  Add(
      std::move(name), "TEXT", std::move(help),
      [=](const std::string& text) {
        *target = text;
        return OkStatus();
      },
      [=] { return Json(*target); });
}

void Settings::AddTexts(std::string name, std::vector<std::string>* target, std::string help) {
  Setting& setting =
      Add(std::move(name), "TEXT", std::move(help), nullptr, [=] { return Json(*target); });
  setting.is_list = true;
  setting.set = [=](const std::vector<std::string>& values) {
    *target = values;
    return OkStatus();
  };
}

void Settings::AddChoice(std::string name, std::string* target, std::vector<std::string> choices,
                         std::string help) {
  std::string listed;
  for (const std::string& choice : choices) listed += (listed.empty() ? "" : "|") + choice;
  auto accepts = [choices = std::move(choices)](const std::string& text) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
  };
  AddName(std::move(name), target, std::move(listed), std::move(accepts), std::move(help));
}

void Settings::AddName(std::string name, std::string* target, std::string listed,
                       std::function<bool(const std::string&)> accepts, std::string help) {
  const std::string type_name = listed;
  Add(
      std::move(name), type_name, std::move(help),
      [=](const std::string& text) {
        if (!accepts(text)) return Refuse(text, "one of " + listed);
        *target = text;
        return OkStatus();
      },
      [=] { return Json(*target); });
}

void Settings::AddSwitch(std::string name, bool* target, std::string help) {
  Setting& setting = Add(
      std::move(name), "", std::move(help),
      [=](const std::string& text) {
        if (text != "true" && text != "false") return Refuse(text, "true or false");
        *target = text == "true";
        return OkStatus();
      },
      [=] { return Json(*target); });
  setting.is_switch = true;
}

void Settings::AddFlags(CLI::App& app) {
  for (size_t i = 0; i < settings_.size(); ++i) {
    const Setting& setting = settings_[i];
    auto* option = app.add_option_function<std::vector<std::string>>(
        "--" + setting.name,
        [this, i](const std::vector<std::string>& values) {
          Setting& given = settings_[i];
          given.flag_given = true;
          given.flag_values = values;
          if (given.is_switch && (values.empty() || values[0].empty()))
            given.flag_values = {"true"};
        },
        setting.help);
    option->type_name(setting.type_name)->allow_extra_args(false);
    if (setting.is_switch) {
      option->expected(0, 1);
    } else if (setting.is_list) {
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    } else {
      option->expected(1)->take_last();
    }
  }
}

Status Settings::Apply(const std::string& toml_path, const Environment& environment) {
  if (!toml_path.empty()) KVASIR_RETURN_IF_ERROR(ApplyFile(toml_path));
  for (Setting& setting : settings_) {
    const std::string variable = VariableName(setting.name);
    const char* value = environment(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    std::vector<std::string> values = {value};
    if (setting.is_list) {
      values.clear();
      std::string_view rest = value;
      while (!rest.empty()) {
        values.emplace_back(rest.substr(0, rest.find(',')));
        rest.remove_prefix(std::min(values.back().size() + 1, rest.size()));
      }
    }
    KVASIR_RETURN_IF_ERROR(setting.set(values).WithContext(variable));
    setting.origin = "environment";
  }
  for (Setting& setting : settings_) {
    if (!setting.flag_given) continue;
    KVASIR_RETURN_IF_ERROR(setting.set(setting.flag_values).WithContext("--" + setting.name));
    setting.origin = "flag";
  }
  return OkStatus();
}

Status Settings::ApplyFile(const std::string& path) {
  KVASIR_ASSIGN_OR_RETURN(const Json file, ReadTomlFile(path));
  std::vector<std::string> keys;
  for (const Setting& setting : settings_) keys.push_back(TomlKey(setting.name));
  for (const auto& [key, value] : file.items()) {
    const auto found = std::find(keys.begin(), keys.end(), key);
    if (found == keys.end()) {
      const std::string nearest = NearestWord(key, keys);
      return InvalidArgument(path + ": unknown key '" + key + "'" +
                             (nearest.empty() ? "; kvasir serve --print-config lists them"
                                              : "; did you mean " + nearest + "?"));
    }
    Setting& setting = settings_[static_cast<size_t>(found - keys.begin())];
    const auto texts = TextsOf(value);
    if (!texts) return InvalidArgument(path + ": " + key + ": a value of this type is not allowed");
    KVASIR_RETURN_IF_ERROR(setting.set(*texts).WithContext(path + ": " + key));
    setting.origin = "file";
  }
  return OkStatus();
}

std::string Settings::Print() const {
  std::string text;
  for (const Setting& setting : settings_) {
    // TOML writes these values as JSON does.
    text +=
        TomlKey(setting.name) + " = " + DumpJson(setting.get()) + "  # " + setting.origin + "\n";
  }
  return text;
}

std::vector<std::string> Settings::UnknownVariables(const char* const* environ_list) const {
  std::vector<std::string> unknown;
  for (; environ_list != nullptr && *environ_list != nullptr; ++environ_list) {
    const std::string_view entry = *environ_list;
    const std::string name(entry.substr(0, entry.find('=')));
    if (!name.starts_with("KVASIR_") || IsOtherVariable(name)) continue;
    const bool known = std::any_of(settings_.begin(), settings_.end(), [&](const Setting& setting) {
      return VariableName(setting.name) == name;
    });
    if (!known) unknown.push_back(name);
  }
  return unknown;
}

}  // namespace kvasir
