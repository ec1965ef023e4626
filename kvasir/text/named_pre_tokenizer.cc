// The names of GGUF's tokenizer.ggml.pre. The expressions are those of the models' tokenizer.json
// files. A name is listed only when its tokenizer is known for certain.

#include <algorithm>
#include <iterator>

#include "kvasir/text/pre_tokenizer.h"

namespace kvasir {

namespace {

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct NamedRow {
  std::string_view name;
  std::string_view first;  // expressions, applied one after the other
  std::string_view second = {};
  bool normalize_nfc = false;
  bool ignore_merges = false;
};

constexpr NamedRow kRows[] = {
    {.name = "default", .first = kGpt2Pattern},
    {.name = "gpt-2", .first = kGpt2Pattern},
    {.name = "phi-2", .first = kGpt2Pattern},
    {.name = "smollm", .first = kDigit, .second = kGpt2Pattern},
    {.name = "starcoder", .first = kDigit, .second = kGpt2Pattern},
    {.name = "llama-bpe", .first = kLlama3, .ignore_merges = true},
    {.name = "llama-v3", .first = kLlama3, .ignore_merges = true},
    {.name = "llama3", .first = kLlama3, .ignore_merges = true},
    {.name = "qwen2", .first = kQwen2, .normalize_nfc = true},
    {.name = "deepseek-r1-qwen", .first = kQwen2, .normalize_nfc = true},
    {.name = "tekken", .first = kTekken, .ignore_merges = true},
    {.name = "gpt-4o", .first = kGpt4o},
    {.name = "llama4", .first = kGpt4o},
};

Status AddPattern(std::string_view pattern, PreTokenizer& pre_tokenizer) {
  if (pattern.empty()) return OkStatus();
  KVASIR_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
  pre_tokenizer.Add(SplitStep{.pattern = std::move(regex)});
  return OkStatus();
}

std::string KnownNames() {
  std::string names;
  for (const NamedRow& row : kRows) names.append(names.empty() ? "" : ", ").append(row.name);
  return names;
}

}  // namespace

Result<NamedPreTokenizer> MakeNamedPreTokenizer(std::string_view pre) {
  if (pre.empty()) pre = "default";
  const auto row = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const NamedRow& r) { return r.name == pre; });
  if (row == std::end(kRows)) {
    return Unimplemented("pre-tokenizer \"" + std::string(pre) +
                         "\" is not known, these are: " + KnownNames());
  }
  NamedPreTokenizer named;
  named.normalize_nfc = row->normalize_nfc;
  named.ignore_merges = row->ignore_merges;
  KVASIR_RETURN_IF_ERROR(AddPattern(row->first, named.pre_tokenizer));
  KVASIR_RETURN_IF_ERROR(AddPattern(row->second, named.pre_tokenizer));
  return named;
}

}  // namespace kvasir
