#include "kvasir/cli/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

namespace kvasir {

namespace {

// Floats as people type them: "0.7", not "0.699999988".
std::string ShortNumber(float value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%g", static_cast<double>(value));
  return buffer;
}

// The long name of "-n,--count": what messages call the flag.
std::string FlagName(const std::string& names) {
  const size_t dashes = names.find("--");
  return dashes == std::string::npos ? names : names.substr(dashes);
}

[[noreturn]] void RefuseValue(const std::string& names, const std::string& value,
                              const std::string& allowed) {
  throw CLI::ValidationError(FlagName(names), "'" + value + "' is not " + allowed);
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row[b.size()];
}

}  // namespace

CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& footer) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->footer(footer);
  return *command;
}

void AddCountFlag(CLI::App& app, const std::string& names, size_t* target, size_t min, size_t max,
                  const std::string& description) {
  app.add_option_function<std::string>(
         names,
         [=](const std::string& text) {
           const auto value = ParseUnsigned(text);
           if (!value || *value < min || *value > max) {
             const bool bounded = max < std::numeric_limits<size_t>::max();
             RefuseValue(names, text,
                         "a whole number from " + std::to_string(min) +
                             (bounded ? " to " + std::to_string(max) : " up"));
           }
           *target = *value;
         },
         description)
      ->type_name("N")
      ->take_last();
}

void AddCountsFlag(CLI::App& app, const std::string& names, std::vector<size_t>* target, size_t min,
                   size_t max, const std::string& description) {
  app.add_option_function<std::string>(
         names,
         [=](const std::string& text) {
           std::vector<size_t> counts;
           for (size_t begin = 0, comma = 0; comma != std::string::npos; begin = comma + 1) {
             comma = text.find(',', begin);
             const std::string part = text.substr(begin, comma - begin);
             const auto value = ParseUnsigned(part);
             if (!value || *value < min || *value > max) {
               RefuseValue(names, part,
                           "a whole number from " + std::to_string(min) + " to " +
                               std::to_string(max) + ", several with commas");
             }
             counts.push_back(*value);
           }
           *target = std::move(counts);
         },
         description)
      ->type_name("N,...")
      ->take_last();
}

void AddNumberFlag(CLI::App& app, const std::string& names, float* target, float min, float max,
                   const std::string& description) {
  app.add_option_function<std::string>(
         names,
         [=](const std::string& text) {
           const auto value = ParseFloat(text);
           if (!value || !(*value >= min && *value <= max)) {
             RefuseValue(names, text,
                         "a number from " + ShortNumber(min) + " to " + ShortNumber(max));
           }
           *target = *value;
         },
         description)
      ->type_name("X")
      ->take_last();
}

void AddBytesFlag(CLI::App& app, const std::string& names, size_t* target, size_t min,
                  const std::string& description) {
  app.add_option_function<std::string>(
         names,
         [=](const std::string& text) {
           const auto value = ParseBytes(text);
           if (!value || *value < min) {
             RefuseValue(names, text,
                         "a size such as 512M or 2G, at least " + FormatBytes(double(min)));
           }
           *target = *value;
         },
         description)
      ->type_name("BYTES")
      ->take_last();
}

void AddChoiceFlag(CLI::App& app, const std::string& names, std::string* target,
                   std::vector<std::string> choices, const std::string& description) {
  std::string listed;
  for (const std::string& choice : choices) listed += (listed.empty() ? "" : "|") + choice;
  const auto accepts = [choices = std::move(choices)](const std::string& text) {
    return std::find(choices.begin(), choices.end(), text) != choices.end();
  };
  AddNameFlag(app, names, target, listed, accepts, description);
}

void AddNameFlag(CLI::App& app, const std::string& names, std::string* target,
                 const std::string& listed, std::function<bool(const std::string&)> accepts,
                 const std::string& description) {
  app.add_option_function<std::string>(
         names,
         [=](const std::string& text) {
           if (!accepts(text)) RefuseValue(names, text, "one of " + listed);
           *target = text;
         },
         description)
      ->type_name(listed)
      ->take_last();
}

void AddTextFlag(CLI::App& app, const std::string& names, std::optional<std::string>* target,
                 const std::string& type_name, const std::string& description) {
  app.add_option_function<std::string>(
         names, [=](const std::string& text) { *target = text; }, description)
      ->type_name(type_name)
      ->take_last();
}

void AddOptionalTextFlag(CLI::App& app, const std::string& names,
                         std::optional<std::string>* target, const std::string& type_name,
                         const std::string& fallback, const std::string& description) {
  app.add_option_function<std::string>(
         names, [=](const std::string& text) { *target = text.empty() ? fallback : text; },
         description)
      ->type_name("[" + type_name + "]")
      ->expected(0, 1);
}

void AddTextArgument(CLI::App& app, const std::string& name, std::optional<std::string>* target,
                     const std::string& description) {
  app.add_option_function<std::string>(
         name, [=](const std::string& text) { *target = text; }, description)
      ->type_name("")
      ->required();
}

void AddOptionalTextArgument(CLI::App& app, const std::string& name,
                             std::optional<std::string>* target, const std::string& description) {
  app.add_option_function<std::string>(
         name, [=](const std::string& text) { *target = text; }, description)
      ->type_name("");
}

void AddTextsFlag(CLI::App& app, const std::string& names, std::vector<std::string>* target,
                  const std::string& description) {
  app.add_option(names, *target, description)->type_name("TEXT")->allow_extra_args(false);
}

void AddSwitch(CLI::App& app, const std::string& names, bool* target,
               const std::string& description) {
  app.add_flag(names, *target, description);
}

void NoteChosen(CLI::App& app, bool* chosen) {
  app.callback([chosen] { *chosen = true; });
}

std::optional<uint64_t> ParseUnsigned(std::string_view text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty()) return std::nullopt;
  return value;
}

std::optional<float> ParseFloat(std::string_view text) {
  float value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<size_t> ParseBytes(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto number = ParseFloat(text.substr(0, digits));
  if (!number) return std::nullopt;
  std::string unit(text.substr(digits));
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kUnits = "kmgt";
  int power = 0;
  if (!unit.empty() && unit != "b") {
    const size_t index = kUnits.find(unit[0]);
    const std::string_view rest = std::string_view(unit).substr(1);
    if (index == std::string_view::npos || (rest != "" && rest != "b" && rest != "ib")) {
      return std::nullopt;
    }
    power = static_cast<int>(index) + 1;
  }
  const double bytes = std::ldexp(static_cast<double>(*number), 10 * power);
  if (bytes > 9e18) return std::nullopt;
  return static_cast<size_t>(bytes);
}

std::string FormatBytes(double byte_count) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (byte_count >= 1024 && unit + 1 < std::size(kUnits)) {
    byte_count /= 1024;
    ++unit;
  }
  char buffer[48];
  std::snprintf(buffer, sizeof(buffer), unit == 0 ? "%.0f %s" : "%.1f %s", byte_count,
                kUnits[unit]);
  return buffer;
}

std::string NearestWord(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::min<size_t>(3, (word.size() + 2) / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace kvasir
