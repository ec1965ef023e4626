// kvasir generate: goes on from a text as it stands, without a chat template.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/cli/answer_stream.h"
#include "kvasir/cli/chat_session.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/interrupt.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/cli/sampling_options.h"

namespace kvasir {

namespace {

constexpr size_t kAnswerTokensDefault = 128;
constexpr size_t kCountMax = 256;

constexpr const char* kFooter =
    "The text to go on from is -p, or --file, or standard input, taken as it is.\n"
    "\n"
    "Examples:\n"
    "  kvasir generate -p \"The capital of France is\" --max-tokens 20\n"
    "  kvasir generate --file story.txt --temperature 0.8 --count 3\n"
    "  echo -n \"def fibonacci(n):\" | kvasir generate --stop $'\\n\\n'\n"
    "  kvasir generate -p \"Once upon a time\" --json";

struct GenerateOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::optional<std::string> prompt;
  std::optional<std::string> file;
  size_t count = 1;
  bool tokens = false;
  bool json = false;
};

std::string JoinIds(std::span<const TokenId> ids) {
  std::string text;
  for (const TokenId id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

Result<std::string> ReadPrompt(const GenerateOptions& options) {
  if (options.prompt && options.file) {
    return InvalidArgument("give the text with --prompt or with --file, not both");
  }
  if (options.prompt) return *options.prompt;
  if (!options.file && StdinIsTerminal()) {
    return InvalidArgument("there is no text to go on from: give -p, --file or a pipe");
  }
  return ReadInput(options.file.value_or("-"));
}

// The answers of one run: `count` requests with seeds seed, seed + 1 ... in one batch.
class Generation {
 public:
  Generation(const GenerateOptions& options, const LoadedModel& loaded, Engine& engine)
      : options_(options), loaded_(loaded), engine_(engine) {}

  Status Run(const std::vector<TokenId>& prompt);

 private:
  // Whether the text of a single answer is shown as it comes.
  bool streaming() const { return options_.count == 1 && !options_.json && !options_.tokens; }
  Status Submit(const std::vector<TokenId>& prompt, size_t index);
  Status Print(const std::vector<TokenId>& prompt);
  Json ToJson(const std::vector<TokenId>& prompt) const;

  const GenerateOptions& options_;
  const LoadedModel& loaded_;
  Engine& engine_;
  InterruptScope interrupt_;
  ProgressBar progress_{"reading", StderrIsTerminal()};
  Output output_;
  std::vector<std::unique_ptr<AnswerStream>> answers_;
  std::vector<RequestId> ids_;
};

Status Generation::Submit(const std::vector<TokenId>& prompt, size_t index) {
  Request request;
  request.prompt = prompt;
  request.token_count_max = options_.sampling.token_count_max;
  const auto end_tokens = loaded_.tokenizer->end_of_generation();
  request.stop_tokens.assign(end_tokens.begin(), end_tokens.end());
  request.sampling = options_.sampling.Params();
  request.sampling.seed += index;
  answers_.push_back(std::make_unique<AnswerStream>(
      *loaded_.tokenizer, options_.sampling.stops,
      [this](std::string_view text) {
        progress_.Finish();
        return !streaming() || output_.Write(text);
      },
      [this](size_t done, size_t total) { progress_.Update(double(done) / double(total)); }));
  answers_.back()->ContinueFrom(prompt);
  KVASIR_ASSIGN_OR_RETURN(const RequestId id, engine_.Submit(std::move(request), *answers_.back()));
  ids_.push_back(id);
  return OkStatus();
}

Status Generation::Run(const std::vector<TokenId>& prompt) {
  for (size_t i = 0; i < options_.count; ++i) {
    if (Status status = Submit(prompt, i); !status.ok()) {
      for (const RequestId id : ids_) engine_.Cancel(id);
      RunRequests(engine_, ids_, interrupt_);
      return status;
    }
  }
  RunRequests(engine_, ids_, interrupt_);
  progress_.Finish();
  for (const auto& answer : answers_) {
    if (answer->reason() == FinishReason::kError) return answer->status();
  }
  KVASIR_RETURN_IF_ERROR(Print(prompt));
  return interrupt_.pressed() ? Cancelled("") : OkStatus();
}

Status Generation::Print(const std::vector<TokenId>& prompt) {
  if (options_.json) return PrintJson(ToJson(prompt));
  if (streaming()) {
    output_.Write("\n");
    return output_.status();
  }
  for (size_t i = 0; i < answers_.size(); ++i) {
    if (answers_.size() > 1) {
      output_.Write("=== answer " + std::to_string(i + 1) + " of " +
                    std::to_string(answers_.size()) + ", seed " +
                    std::to_string(options_.sampling.seed + i) + "\n");
    }
    output_.Write((options_.tokens ? JoinIds(answers_[i]->tokens()) : answers_[i]->text()) + "\n");
  }
  return output_.status();
}

Json Generation::ToJson(const std::vector<TokenId>& prompt) const {
  Json answers = Json::array();
  for (size_t i = 0; i < answers_.size(); ++i) {
    const AnswerStream& answer = *answers_[i];
    answers.push_back({{"text", answer.text()},
                       {"tokens", answer.tokens()},
                       {"finish_reason", FinishReasonName(answer.reason())},
                       {"seed", options_.sampling.seed + i},
                       {"cached_tokens", answer.cached_token_count()},
                       {"prefill_seconds", answer.prefill_seconds()},
                       {"decode_seconds", answer.decode_seconds()}});
  }
  return {{"model", loaded_.name}, {"prompt_tokens", prompt}, {"answers", std::move(answers)}};
}

Status RunGenerate(const GenerateOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadPrompt(options));
  KVASIR_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModelFor(options.model, options.count));
  const std::vector<TokenId> prompt = loaded.tokenizer->Encode(text);
  if (prompt.empty()) return InvalidArgument("the text to go on from is empty");
  KVASIR_ASSIGN_OR_RETURN(EngineOptions engine_options,
                          EngineOptionsFor(options.model, loaded, options.count));
  // No more keys and values than these answers can need.
  engine_options.context_tokens =
      std::min(engine_options.context_tokens, prompt.size() + options.sampling.token_count_max);
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                          Engine::Create(*loaded.model, engine_options));
  return Generation(options, loaded, *engine).Run(prompt);
}

}  // namespace

CommandFunction AddGenerateCommand(CLI::App& parent) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App& app =
      AddCommand(parent, "generate", "Go on from a text, without a chat template", kFooter);
  AddTextFlag(app, "-p,--prompt", &options->prompt, "TEXT", "go on from this text");
  AddTextFlag(app, "-f,--file", &options->file, "PATH",
              "go on from this file, - for standard input");
  AddCountFlag(app, "--count", &options->count, 1, kCountMax,
               "answers, drawn side by side with seeds\nseed, seed + 1, ... (default: 1)");
  AddSwitch(app, "--tokens", &options->tokens, "print token ids instead of text");
  AddSwitch(app, "--json", &options->json, "print one JSON object at the end");
  AddSamplingFlags(app, kAnswerTokensDefault, &options->sampling);
  AddModelFlags(app, ModelFlags::kEngine, &options->model);
  AddPrefixCacheFlag(app, &options->model);
  AddKvDiskFlags(app, &options->model);
  return [options] { return RunGenerate(*options); };
}

}  // namespace kvasir
