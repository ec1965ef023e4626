#include "kvasir/cli/chat_repl.h"

#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>

#include "kvasir/cli/flags.h"
#include "kvasir/cli/line_editor.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"

namespace kvasir {

namespace {

constexpr const char* kHelp =
    "Write a message and press Enter; a line that ends in \\ goes on in the next one.\n"
    "  /reset         forget the conversation, keep the system message\n"
    "  /system TEXT   start over with this system message; without TEXT, with none\n"
    "  /stats         speed of the last answer and memory of keys and values\n"
    "  /help          this text\n"
    "  /quit          end (also Ctrl-D)\n"
    "Ctrl-C stops an answer; at the prompt, twice in a row, it ends the program.\n";

class Repl {
 public:
  Repl(ChatSession& session, const std::string& history_path, InterruptScope& interrupt)
      : session_(session), interrupt_(interrupt), editor_(history_path, interrupt) {}

  Status Run();

 private:
  // The next message or command, nullopt at the end.
  std::optional<std::string> ReadMessage();
  // False for /quit.
  bool RunCommand(std::string_view line);
  void Answer(std::string message);
  void ShowStats();

  ChatSession& session_;
  InterruptScope& interrupt_;
  LineEditor editor_;
  Output output_;
  std::optional<Turn> last_turn_;
};

Status Repl::Run() {
  while (output_.open()) {
    std::optional<std::string> message = ReadMessage();
    if (!message) break;
    if (message->find_first_not_of(" \t\n") == std::string::npos) continue;
    if ((*message)[0] == '/') {
      if (!RunCommand(*message)) break;
    } else {
      Answer(std::move(*message));
    }
  }
  return output_.status();
}

std::optional<std::string> Repl::ReadMessage() {
  std::string message;
  bool interrupted = false;
  for (;;) {
    std::string line;
    switch (editor_.ReadLine(message.empty() ? "> " : "  ", &line)) {
      case LineEditor::Outcome::kEnd:
        output_.Write("\n");
        return std::nullopt;
      case LineEditor::Outcome::kInterrupted:
        interrupt_.Clear();
        output_.Write("\n");
        if (interrupted) return std::nullopt;
        interrupted = true;
        message.clear();
        output_.Write("(Ctrl-C again or Ctrl-D ends)\n");
        continue;
      case LineEditor::Outcome::kLine:
        break;
    }
    interrupted = false;
    message += line;
    if (!message.ends_with('\\')) return message;
    message.back() = '\n';
  }
}

bool Repl::RunCommand(std::string_view line) {
  const std::string_view name = line.substr(0, line.find_first_of(" \t\n"));
  const size_t rest = line.find_first_not_of(" \t\n", name.size());
  const std::string argument(rest == std::string_view::npos ? "" : line.substr(rest));
  if (name == "/quit" || name == "/exit") return false;
  if (name == "/reset") {
    session_.conversation().Reset();
    output_.Write("(the conversation starts over)\n");
  } else if (name == "/system") {
    session_.conversation().Restart(argument);
    output_.Write(argument.empty() ? "(the conversation starts over, without a system message)\n"
                                   : "(the conversation starts over with this system message)\n");
  } else if (name == "/stats") {
    ShowStats();
  } else if (name == "/help") {
    output_.Write(kHelp);
  } else {
    static const std::string kNames[] = {"/help", "/reset", "/system", "/stats", "/quit"};
    const std::string nearest = NearestWord(name, kNames);
    output_.Write(
        "(there is no " + std::string(name) +
        (nearest.empty() ? "; /help lists the commands)\n" : "; did you mean " + nearest + "?)\n"));
  }
  return true;
}

void Repl::Answer(std::string message) {
  interrupt_.Clear();
  ProgressBar progress("reading", StderrIsTerminal());
  bool line_open = false;
  Result<Turn> turn = session_.Answer(
      std::move(message),
      [&](std::string_view text) {
        progress.Finish();
        line_open = !text.ends_with('\n');
        return output_.Write(text);
      },
      [&](size_t done, size_t total) { progress.Update(double(done) / double(total)); });
  progress.Finish();
  if (line_open) output_.Write("\n");
  interrupt_.Clear();
  if (!turn.ok()) {
    const bool long_conversation = session_.conversation().message_count() > 0;
    output_.Write("kvasir: " + turn.status().message() +
                  (long_conversation ? " (/reset forgets the conversation so far)\n" : "\n"));
    return;
  }
  if (turn->reason == FinishReason::kCancelled) output_.Write("(stopped)\n");
  if (turn->reason == FinishReason::kLength) {
    output_.Write("(cut off: --max-tokens or --context allows no more)\n");
  }
  last_turn_ = std::move(*turn);
}

void Repl::ShowStats() {
  const EngineStats stats = session_.engine().stats();
  std::string text =
      last_turn_ ? "last answer: " + DescribeTurn(*last_turn_) + "\n" : "no answer yet\n";
  text += "so far: " + std::to_string(stats.prompt_token_count) + " tokens read, " +
          std::to_string(stats.generated_token_count) + " written; context " +
          std::to_string(session_.engine().context_tokens()) +
          " tokens; keys and values: " + FormatBytes(double(stats.kv_bytes)) + " in " +
          std::to_string(stats.block_count) + " blocks\n";
  output_.Write(text);
}

}  // namespace

Status RunChatRepl(ChatSession& session, const std::string& greeting,
                   const std::string& history_path, InterruptScope& interrupt) {
  Repl repl(session, history_path, interrupt);
  std::printf("%s\n", greeting.c_str());
  std::fflush(stdout);
  return repl.Run();
}

}  // namespace kvasir
