// kvasir tokenize: text to token ids and back. Reads only the file's tokenizer, packs no weights.

#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/cli/answer_stream.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  kvasir tokenize -p \"Hello world\"            ids, one line\n"
    "  kvasir tokenize -p \"Hello world\" --pieces   a table of ids and their text\n"
    "  kvasir tokenize --file book.txt --json\n"
    "  kvasir tokenize --ids \"19556 905\"           back to text";

struct TokenizeOptions {
  ModelOptions model;
  std::optional<std::string> text;
  std::optional<std::string> file;
  std::optional<std::string> ids;
  bool pieces = false;
  bool json = false;
  bool no_special = false;
};

// Ids separated by anything that is no digit: "1 2 3", "[1, 2, 3]".
Result<std::vector<TokenId>> ParseIds(std::string_view text, size_t vocab_size) {
  std::vector<TokenId> ids;
  while (true) {
    const size_t begin = text.find_first_not_of(" ,\t\r\n[]");
    if (begin == std::string_view::npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(" ,\t\r\n[]"));
    const auto id = ParseUnsigned(word);
    if (!id || *id >= vocab_size) {
      return InvalidArgument("--ids: '" + std::string(word) + "' is not a token id from 0 to " +
                             std::to_string(vocab_size - 1));
    }
    ids.push_back(static_cast<TokenId>(*id));
    text.remove_prefix(word.size());
  }
}

// A piece for the table: control characters as JSON writes them, so that it stays on its line.
std::string Quoted(std::string_view piece) { return DumpJson(Json(std::string(piece))); }

Status PrintTokens(const TokenizeOptions& options, const Tokenizer& tokenizer,
                   const std::vector<TokenId>& ids) {
  std::vector<std::string> pieces;
  for (const TokenId id : ids) pieces.emplace_back(tokenizer.TokenBytes(id));
  if (options.json) {
    return PrintJson({{"count", ids.size()}, {"ids", ids}, {"pieces", pieces}});
  }
  std::string text;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (options.pieces) {
      text += std::to_string(ids[i]) + "\t" + Quoted(pieces[i]) + "\n";
    } else {
      text += (i == 0 ? "" : " ") + std::to_string(ids[i]);
    }
  }
  if (!options.pieces) text += "\n";
  Output output;
  output.Write(text);
  return output.status();
}

Status PrintText(const TokenizeOptions& options, const Tokenizer& tokenizer,
                 const std::vector<TokenId>& ids) {
  const std::string text = tokenizer.Decode(ids, {.skip_special = options.no_special});
  if (options.json) return PrintJson({{"count", ids.size()}, {"ids", ids}, {"text", text}});
  Output output;
  output.Write(text + "\n");
  return output.status();
}

Status RunTokenize(const TokenizeOptions& options) {
  const int sources = options.text.has_value() + options.file.has_value() + options.ids.has_value();
  if (sources > 1) return InvalidArgument("give only one of --prompt, --file and --ids");
  if (sources == 0 && StdinIsTerminal()) {
    return InvalidArgument("there is nothing to tokenize: give -p, --file, --ids or a pipe");
  }
  KVASIR_ASSIGN_OR_RETURN(const OpenedModel opened, OpenModel(options.model));
  const Tokenizer& tokenizer = *opened.tokenizer;
  if (options.ids) {
    KVASIR_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                            ParseIds(*options.ids, tokenizer.vocab_size()));
    return PrintText(options, tokenizer, ids);
  }
  std::string text = options.text.value_or("");
  if (!options.text) {
    KVASIR_ASSIGN_OR_RETURN(text, ReadInput(options.file.value_or("-")));
  }
  const bool special = !options.no_special;
  return PrintTokens(options, tokenizer,
                     tokenizer.Encode(text, {.add_special = special, .parse_special = special}));
}

}  // namespace

CommandFunction AddTokenizeCommand(CLI::App& parent) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App& app = AddCommand(parent, "tokenize", "Text to token ids, and back", kFooter);
  AddTextFlag(app, "-p,--prompt", &options->text, "TEXT", "the text");
  AddTextFlag(app, "-f,--file", &options->file, "PATH",
              "the text of this file, - for standard input");
  AddTextFlag(app, "--ids", &options->ids, "IDS", "token ids to turn into text");
  AddSwitch(app, "--pieces", &options->pieces, "one token a line: id, tab, its text in quotes");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  AddSwitch(app, "--no-special", &options->no_special,
            "plain text only: add no begin or end token,\ntake <|...|> as text; with --ids, leave "
            "out\ncontrol tokens");
  AddModelFlags(app, ModelFlags::kFile, &options->model);
  return [options] { return RunTokenize(*options); };
}

}  // namespace kvasir
