#include "kvasir/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>

#include "kvasir/cli/flags.h"

namespace kvasir {

namespace {

constexpr const char* kDescription = "Kvasir answers with large language models on CPUs.";

constexpr const char* kFooter =
    "Examples:\n"
    "  kvasir chat                                  a conversation\n"
    "  kvasir chat -p \"What is the capital of France?\"\n"
    "  git diff | kvasir chat -p \"Write a commit message for this change:\"\n"
    "  kvasir serve                                 the OpenAI API on port 8080\n"
    "  kvasir info                                  model, memory, instruction set\n"
    "  kvasir bench --tests pp512,tg64              tokens per second\n"
    "  kvasir bench serve --url http://HOST:PORT    load on any OpenAI server\n"
    "\n"
    "Without --model, $KVASIR_MODEL or the default model is used (scripts/quickstart gets it).\n"
    "`kvasir COMMAND --help` explains a command and its flags.\n"
    "Exit codes: 0 done, 1 reading or writing failed, 2 bad flags or input, 130 interrupted.";

constexpr std::pair<const char*, CommandFunction (*)(CLI::App&)> kCommands[] = {
    {"chat", AddChatCommand},
    {"generate", AddGenerateCommand},
    {"serve", AddServeCommand},
    {"info", AddInfoCommand},
    {"bench", AddBenchCommand},
    {"perplexity", AddPerplexityCommand},
    {"eval", AddEvalCommand},
    {"eval-select", AddEvalSelectCommand},
    {"kv-calibrate", AddKvCalibrateCommand},
    {"replay", AddReplayCommand},
    {"quantize", AddQuantizeCommand},
    {"tokenize", AddTokenizeCommand},
    {"cache", AddCacheCommand},
    {"attention", AddAttentionCommand},
};

std::string WithSuggestion(std::string sentence, const std::string& nearest,
                           const std::string& otherwise) {
  return sentence + (nearest.empty() ? otherwise : "; did you mean " + nearest + "?");
}

// "attention build": the name of a command with those of the groups around it.
std::string FullName(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  const bool is_in_group = parent != nullptr && parent->get_parent() != nullptr;
  return (is_in_group ? FullName(*parent) + " " : "") + command.get_name();
}

// The command that was chosen: within a group, that of the group; `app` itself when there is none.
const CLI::App& Chosen(const CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? app : Chosen(*chosen[0]);
}

// Whether `command` only holds others: it has no flags of its own but --help.
bool IsGroup(const CLI::App& command) {
  return !command.get_subcommands([](const CLI::App*) { return true; }).empty() &&
         command.get_options().size() <= 1;
}

// Flags of a command that stand in front of the one below it, which would not see them.
Status FlagsInFront(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  if (parent == nullptr || parent->get_parent() == nullptr) return OkStatus();
  for (const CLI::Option* option : parent->get_options()) {
    if (option->count() == 0) continue;
    return InvalidArgument(option->get_name() + " stands in front of " + command.get_name() +
                           ": give the flags of " + FullName(command) + " behind its name");
  }
  return OkStatus();
}

// `group` alone, or with a word behind it that is none of its commands.
Status UnknownInGroup(const CLI::App& group) {
  std::string listed;
  std::vector<std::string> known;
  for (const CLI::App* command : group.get_subcommands([](const CLI::App*) { return true; })) {
    known.push_back(command->get_name());
    listed += (listed.empty() ? "" : ", ") + command->get_name();
  }
  const std::string name = FullName(group);
  const std::vector<std::string> words = group.remaining();
  if (words.empty()) {
    return InvalidArgument(name + " needs one of its commands " + listed + "; see kvasir " + name +
                           " --help");
  }
  return InvalidArgument(WithSuggestion("unknown command '" + name + " " + words[0] + "'",
                                        NearestWord(words[0], known),
                                        "; the commands of " + name + " are " + listed));
}

// The first argument that no flag of `command` took.
Status UnknownArgument(const CLI::App& command, const std::string& argument) {
  if (argument.empty() || argument[0] != '-') {
    return InvalidArgument("unexpected argument '" + argument + "' for " + FullName(command) +
                           "; flags begin with --, texts with spaces need quotes");
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string flag = argument.substr(0, argument.find('='));
  return InvalidArgument(WithSuggestion("unknown flag " + flag + " for " + FullName(command),
                                        NearestWord(flag, known),
                                        "; see kvasir " + FullName(command) + " --help"));
}

Status UnknownCommand(const std::string& word) {
  std::vector<std::string> known;
  std::string listed;
  for (const auto& [name, add] : kCommands) {
    known.push_back(name);
    listed += (listed.empty() ? "" : ", ") + std::string(name);
  }
  if (word.starts_with("-")) {
    return InvalidArgument("unknown flag " + word +
                           " before the command; see kvasir --help, and give a command's flags "
                           "behind its name");
  }
  return InvalidArgument(WithSuggestion("unknown command '" + word + "'", NearestWord(word, known),
                                        "; the commands are " + listed));
}

}  // namespace

int ExitCodeFor(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kExitOk;
    case StatusCode::kCancelled:
      return kExitInterrupted;
    case StatusCode::kIoError:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kUnavailable:
      return kExitFailure;
    case StatusCode::kInvalidArgument:
    case StatusCode::kNotFound:
    case StatusCode::kDataLoss:
    case StatusCode::kUnimplemented:
    case StatusCode::kResourceExhausted:
      return kExitBadInput;
  }
  return kExitFailure;
}

Result<ParsedCommandLine> ParseCommandLine(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "kvasir");
  app.footer(kFooter);
  app.set_version_flag("--version", "kvasir " + std::string(kKvasirVersion));
  app.get_formatter()->column_width(34);
  app.allow_extras();
  std::vector<CommandFunction> functions;
  for (const auto& [name, add] : kCommands) functions.push_back(add(app));
  for (CLI::App* command : app.get_subcommands({})) {
    command->allow_extras();
    for (CLI::App* nested : command->get_subcommands({})) nested->allow_extras();
  }

  ParsedCommandLine parsed;
  if (arguments.empty()) {
    parsed.text = app.help();
    return parsed;
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a vector from its end
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    const CLI::App& chosen = Chosen(app);
    const CLI::App* parent = chosen.get_parent();
    const bool is_in_group = parent != nullptr && parent != &app;
    parsed.text = parent == nullptr
                      ? app.help()
                      : chosen.help(is_in_group ? "kvasir " + FullName(*parent) : "kvasir");
    return parsed;
  } catch (const CLI::CallForVersion& version) {
    parsed.text = std::string(version.what()) + "\n";
    return parsed;
  } catch (const CLI::Error& error) {
    return InvalidArgument(error.what());
  }
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty()) return UnknownCommand(app.remaining().at(0));
  const CLI::App& command = Chosen(app);
  if (IsGroup(command)) return UnknownInGroup(command);
  KVASIR_RETURN_IF_ERROR(FlagsInFront(command));
  if (const auto extra = command.remaining(); !extra.empty()) {
    return UnknownArgument(command, extra[0]);
  }
  if (chosen.size() > 1) {
    return InvalidArgument("one command at a time: " + chosen[0]->get_name() + " or " +
                           chosen[1]->get_name());
  }
  for (size_t i = 0; i < std::size(kCommands); ++i) {
    if (chosen[0]->get_name() == kCommands[i].first) parsed.run = std::move(functions[i]);
  }
  return parsed;
}

int RunCommandLine(int argc, const char* const* argv) {
  // A reader that has seen enough closes its pipe: writes then fail with EPIPE and end the command
  // quietly (cli/output.h).
  std::signal(SIGPIPE, SIG_IGN);
  Result<ParsedCommandLine> parsed = ParseCommandLine({argv + std::min(argc, 1), argv + argc});
  Status status = parsed.status();
  if (status.ok() && !parsed->run) {
    std::fputs(parsed->text.c_str(), stdout);
    return kExitOk;
  }
  if (status.ok()) status = parsed->run();
  if (!status.ok() && !status.message().empty()) {
    std::fprintf(stderr, "kvasir: %s\n", status.message().c_str());
  }
  return ExitCodeFor(status);
}

}  // namespace kvasir
