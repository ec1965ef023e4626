// kvasir chat: a conversation on a terminal, or one answer to -p and what is piped in.

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "kvasir/cli/chat_repl.h"
#include "kvasir/cli/chat_session.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/conversation.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/interrupt.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/cli/sampling_options.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr size_t kAnswerTokensDefault = 1024;

constexpr const char* kFooter =
    "Without -p, on a terminal, this is a conversation (/help lists its commands). Otherwise it\n"
    "prints one answer: to -p, to what is piped in, or to both, -p first.\n"
    "\n"
    "Examples:\n"
    "  kvasir chat\n"
    "  kvasir chat -p \"What is the capital of France?\"\n"
    "  kvasir chat --system \"You answer in one sentence.\" -p \"Why is the sky blue?\"\n"
    "  kvasir chat -p \"Summarise this text:\" --file report.txt\n"
    "  git diff | kvasir chat -p \"Write a commit message for this change:\"\n"
    "  kvasir chat --temperature 0.7 --top-p 0.9 --seed 7 -p \"Tell a story.\"";

struct ChatOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  std::optional<std::string> system;
  bool no_history = false;
};

// The message of a one-shot run, nullopt for a conversation.
Result<std::optional<std::string>> OneMessage(const ChatOptions& options) {
  std::optional<std::string> more;
  if (options.file) {
    KVASIR_ASSIGN_OR_RETURN(more, ReadInput(*options.file));
  } else if (options.prompt) {
    KVASIR_ASSIGN_OR_RETURN(more, ReadPipedInput());
  } else if (!StdinIsTerminal()) {
    KVASIR_ASSIGN_OR_RETURN(more, ReadInput("-"));
  }
  if (!options.prompt && !more) return std::optional<std::string>();
  std::string message = options.prompt.value_or("");
  if (more && !more->empty()) {
    if (!message.empty()) message += "\n\n";
    message += *more;
  }
  // A text file ends in a newline, a message does not.
  while (!message.empty() && (message.back() == '\n' || message.back() == '\r')) message.pop_back();
  if (message.empty()) return InvalidArgument("the message is empty: give one with -p or a pipe");
  return std::optional<std::string>(std::move(message));
}

Status AnswerOnce(ChatSession& session, std::string message) {
  Output output;
  ProgressBar progress("reading", StderrIsTerminal());
  Result<Turn> turn = session.Answer(
      std::move(message),
      [&](std::string_view text) {
        progress.Finish();
        return output.Write(text);
      },
      [&](size_t done, size_t total) { progress.Update(double(done) / double(total)); });
  progress.Finish();
  if (!turn.ok()) return turn.status();
  if (!turn->text.ends_with('\n')) output.Write("\n");
  KVASIR_RETURN_IF_ERROR(output.status());
  return turn->reason == FinishReason::kCancelled ? Cancelled("") : OkStatus();
}

// ${XDG_STATE_HOME:-~/.local/state}/kvasir/chat_history; empty when there is no such place.
std::string HistoryPath() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path dir;
  if (state != nullptr && *state != '\0') {
    dir = state;
  } else if (home != nullptr && *home != '\0') {
    dir = std::filesystem::path(home) / ".local" / "state";
  } else {
    return "";
  }
  dir /= "kvasir";
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  return error ? "" : (dir / "chat_history").string();
}

std::string Greeting(const LoadedModel& loaded, const ModelOptions& options, const Engine& engine) {
  return loaded.name + " (" + loaded.weights_label + "), context " +
         std::to_string(engine.context_tokens()) + " tokens, " +
         std::to_string(loaded.pool->thread_count()) + " threads, " +
         std::string(CpuTargetName(ActiveCpuTarget())) + ", keys and values in " +
         options.kv_format + ". /help lists the commands, Ctrl-D ends.";
}

// The system message when --system is not given. Small models need one of their own kind: the
// default model, greedy, answers in French under the message that its template brings along.
constexpr char kDefaultSystem[] = "You are a helpful assistant.";

// A conversation under the system message asked for; without one, under the default, or under none
// where the template refuses system messages.
Result<Conversation> StartConversation(const LoadedModel& loaded,
                                       const std::optional<std::string>& system) {
  KVASIR_ASSIGN_OR_RETURN(Conversation conversation,
                          Conversation::Create(*loaded.tokenizer, loaded.chat_template,
                                               system.value_or(kDefaultSystem)));
  if (!system) {
    conversation.AddUser("Hello");
    const bool accepted = conversation.Prompt().ok();
    conversation.Restart(accepted ? kDefaultSystem : "");
  }
  return conversation;
}

Status RunChat(const ChatOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(std::optional<std::string> message, OneMessage(options));
  KVASIR_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModelFor(options.model));
  KVASIR_ASSIGN_OR_RETURN(const EngineOptions engine_options,
                          EngineOptionsFor(options.model, loaded, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          Engine::Create(*loaded.model, engine_options));
  KVASIR_ASSIGN_OR_RETURN(Conversation conversation, StartConversation(loaded, options.system));
  if (!conversation.has_template()) {
    std::fputs(
        "kvasir: this model has no chat template, using plain \"User: ... Assistant:\" lines\n",
        stderr);
  }
  InterruptScope interrupt;
  ChatSession session(*engine, *loaded.tokenizer, std::move(conversation), options.sampling,
                      interrupt);
  if (message) return AnswerOnce(session, std::move(*message));
  return RunChatRepl(session, Greeting(loaded, options.model, *engine),
                     options.no_history ? "" : HistoryPath(), interrupt);
}

}  // namespace

CommandFunction AddChatCommand(CLI::App& parent) {
  auto options = std::make_shared<ChatOptions>();
  CLI::App& app = AddCommand(parent, "chat", "Talk with the model, or ask it one thing", kFooter);
  AddTextFlag(app, "-p,--prompt", &options->prompt, "TEXT", "answer this message and end");
  AddTextFlag(app, "-f,--file", &options->file, "PATH",
              "a file whose text follows the message, - for\nstandard input");
  AddTextFlag(
      app, "-s,--system", &options->system, "TEXT",
      "system message: how the model shall behave\n(default: \"You are a helpful assistant.\";\n"
      "\"\" leaves it to the model's template)");
  AddSwitch(app, "--no-history", &options->no_history,
            "do not remember the lines of this conversation");
  AddSamplingFlags(app, kAnswerTokensDefault, &options->sampling);
  AddModelFlags(app, ModelFlags::kEngine, &options->model);
  AddPrefixCacheFlag(app, &options->model);
  AddKvDiskFlags(app, &options->model);
  return [options] { return RunChat(*options); };
}

}  // namespace kvasir
