#include "kvasir/text/tokenizer_json_steps.h"

#include <utility>

namespace kvasir {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

Status UnknownKind(std::string_view part, const std::string& kind) {
  return Unimplemented("tokenizer.json has a " + std::string(part) + " of type \"" + kind +
                       "\", which is not known");
}

Status Malformed(std::string_view what) {
  return DataLoss("tokenizer.json has a malformed " + std::string(what));
}

// Calls `read` with every element of the array `key`.
template <typename Read>
Status ForEachIn(const JsonValue& json, const char* key, const Read& read) {
  const JsonValue* list = FindMember(json, key);
  if (list == nullptr || !list->is_array()) return Malformed(std::string("Sequence: ") + key);
  for (const JsonValue& element : *list) KVASIR_RETURN_IF_ERROR(read(element));
  return OkStatus();
}

// {"String": "text"} or {"Regex": "expression"}.
Result<std::variant<Regex, std::string>> ReadPattern(const JsonValue& json) {
  const JsonValue* pattern = FindMember(json, "pattern");
  if (pattern == nullptr) return Malformed("pattern");
  if (const JsonValue* text = FindMember(*pattern, "String"); text != nullptr) {
    if (!text->is_string() || text->get_ref<const std::string&>().empty()) {
      return Malformed("pattern: String must be a text that is not empty");
    }
    return std::variant<Regex, std::string>(text->get<std::string>());
  }
  const JsonValue* expression = FindMember(*pattern, "Regex");
  if (expression == nullptr || !expression->is_string()) {
    return Malformed("pattern: String or Regex must be there");
  }
  KVASIR_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(expression->get_ref<const std::string&>()));
  return std::variant<Regex, std::string>(std::move(regex));
}

Result<SplitStep> ReadSplit(const JsonValue& json) {
  SplitStep step{.pattern = std::string()};
  KVASIR_ASSIGN_OR_RETURN(step.pattern, ReadPattern(json));
  const std::string behavior = StringOr(json, "behavior", "");
  if (behavior == "Isolated") {
    step.behavior = SplitBehavior::kIsolated;
  } else if (behavior == "Removed") {
    step.behavior = SplitBehavior::kRemoved;
  } else if (behavior == "MergedWithPrevious") {
    step.behavior = SplitBehavior::kMergedWithPrevious;
  } else if (behavior == "MergedWithNext") {
    step.behavior = SplitBehavior::kMergedWithNext;
  } else if (behavior == "Contiguous") {
    step.behavior = SplitBehavior::kContiguous;
  } else {
    return Malformed("Split: behavior \"" + behavior + "\"");
  }
  step.invert = BoolOr(json, "invert", false);
  return step;
}

Status AddByteLevel(const JsonValue& json, JsonPreTokenizer& result) {
  result.byte_level = true;
  if (BoolOr(json, "add_prefix_space", true)) {
    result.pre_tokenizer.Add(PrefixStep{.text = " ", .only_if_missing = true});
  }
  if (BoolOr(json, "use_regex", true)) {
    KVASIR_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(kGpt2Pattern));
    result.pre_tokenizer.Add(SplitStep{.pattern = std::move(regex)});
  }
  return OkStatus();
}

Status AddDigits(const JsonValue& json, JsonPreTokenizer& result) {
  KVASIR_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(R"(\p{N})"));
  result.pre_tokenizer.Add(SplitStep{.pattern = std::move(regex),
                                     .behavior = BoolOr(json, "individual_digits", false)
                                                     ? SplitBehavior::kIsolated
                                                     : SplitBehavior::kContiguous});
  return OkStatus();
}

// "always", "first" or "never"; older files say it with add_prefix_space.
std::string PrependScheme(const JsonValue& json) {
  const std::string older = BoolOr(json, "add_prefix_space", true) ? "always" : "never";
  return StringOr(json, "prepend_scheme", older);
}

Status AddMetaspace(const JsonValue& json, JsonPreTokenizer& result) {
  const std::string mark = StringOr(json, "replacement", kSpaceMark);
  if (mark.empty()) return Malformed("Metaspace: replacement is empty");
  result.pre_tokenizer.Add(PieceReplaceStep{" ", mark});
  const std::string scheme = PrependScheme(json);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return Malformed("Metaspace: prepend_scheme \"" + scheme + "\"");
  }
  if (scheme != "never") {
    result.pre_tokenizer.Add(
        PrefixStep{.text = mark, .only_if_missing = true, .only_at_text_start = scheme == "first"});
  }
  if (BoolOr(json, "split", true)) {
    result.pre_tokenizer.Add(
        SplitStep{.pattern = mark, .behavior = SplitBehavior::kMergedWithNext});
  }
  return OkStatus();
}

Status AddReplace(const JsonValue& json, Normalizer& normalizer) {
  KVASIR_ASSIGN_OR_RETURN(auto pattern, ReadPattern(json));
  std::string content = StringOr(json, "content", "");
  if (Regex* regex = std::get_if<Regex>(&pattern)) {
    normalizer.Add(RegexReplaceStep{std::move(*regex), std::move(content)});
  } else {
    normalizer.Add(ReplaceStep{std::get<std::string>(pattern), std::move(content)});
  }
  return OkStatus();
}

Status ReadTemplate(const JsonValue& json, JsonTemplate& result) {
  const JsonValue* tokens = FindMember(json, "special_tokens");
  bool behind_text = false;
  return ForEachIn(json, "single", [&](const JsonValue& piece) -> Status {
    if (FindMember(piece, "Sequence") != nullptr) {
      behind_text = true;
      return OkStatus();
    }
    const JsonValue* special = FindMember(piece, "SpecialToken");
    const JsonValue* entry = special == nullptr || tokens == nullptr
                                 ? nullptr
                                 : FindMember(*tokens, StringOr(*special, "id", "").c_str());
    if (entry == nullptr) return Malformed("TemplateProcessing: single");
    return ForEachIn(*entry, "ids", [&](const JsonValue& value) -> Status {
      const TokenId id = ReadTokenId(value);
      if (id == kNoToken) return Malformed("TemplateProcessing: ids");
      (behind_text ? result.suffix : result.prefix).push_back(id);
      return OkStatus();
    });
  });
}

}  // namespace

Status ReadNormalizer(const JsonValue& json, Normalizer& normalizer) {
  const std::string kind = StringOr(json, "type", "");
  if (kind == "Sequence") {
    return ForEachIn(json, "normalizers",
                     [&](const JsonValue& step) { return ReadNormalizer(step, normalizer); });
  }
  if (kind == "Replace") return AddReplace(json, normalizer);
  if (kind == "NFC") {
    normalizer.Add(NormalForm::kNfc);
  } else if (kind == "NFD") {
    normalizer.Add(NormalForm::kNfd);
  } else if (kind == "NFKC") {
    normalizer.Add(NormalForm::kNfkc);
  } else if (kind == "NFKD") {
    normalizer.Add(NormalForm::kNfkd);
  } else if (kind == "Prepend") {
    normalizer.Add(PrependStep{StringOr(json, "prepend", "")});
  } else if (kind == "Strip") {
    normalizer.Add(StripStep{BoolOr(json, "strip_left", true), BoolOr(json, "strip_right", true)});
  } else {
    return UnknownKind("normalizer", kind);
  }
  return OkStatus();
}

Status ReadPreTokenizer(const JsonValue& json, JsonPreTokenizer& result) {
  const std::string kind = StringOr(json, "type", "");
  if (kind == "Sequence") {
    return ForEachIn(json, "pretokenizers",
                     [&](const JsonValue& step) { return ReadPreTokenizer(step, result); });
  }
  if (kind == "ByteLevel") return AddByteLevel(json, result);
  if (result.byte_level) return Malformed("pre_tokenizer: " + kind + " after ByteLevel");
  if (kind == "Digits") return AddDigits(json, result);
  if (kind == "Metaspace") return AddMetaspace(json, result);
  if (kind != "Split") return UnknownKind("pre_tokenizer", kind);
  KVASIR_ASSIGN_OR_RETURN(SplitStep step, ReadSplit(json));
  result.pre_tokenizer.Add(std::move(step));
  return OkStatus();
}

Status ReadDecoder(const JsonValue& json, JsonDecoder& decoder) {
  const std::string kind = StringOr(json, "type", "");
  if (kind == "Sequence") {
    return ForEachIn(json, "decoders",
                     [&](const JsonValue& step) { return ReadDecoder(step, decoder); });
  }
  if (kind == "ByteLevel") {
    decoder.byte_level = true;
  } else if (kind == "ByteFallback") {
    decoder.byte_fallback = true;
  } else if (kind == "Metaspace") {
    const std::string mark = StringOr(json, "replacement", kSpaceMark);
    if (mark.empty()) return Malformed("Metaspace: replacement is empty");
    decoder.replacements.push_back({mark, " "});
    decoder.drop_leading_space = PrependScheme(json) != "never";
  } else if (kind == "Replace") {
    KVASIR_ASSIGN_OR_RETURN(const auto pattern, ReadPattern(json));
    const std::string* text = std::get_if<std::string>(&pattern);
    if (text == nullptr) return UnknownKind("decoder", "Replace with a Regex");
    decoder.replacements.push_back({*text, StringOr(json, "content", "")});
  } else if (kind == "Strip") {
    const JsonValue* start = FindMember(json, "start");
    const JsonValue* stop = FindMember(json, "stop");
    const bool one_space = StringOr(json, "content", "") == " " && start != nullptr &&
                           *start == 1 && stop != nullptr && *stop == 0;
    if (!one_space) return UnknownKind("decoder", "Strip of other than one leading space");
    decoder.drop_leading_space = true;
  } else if (kind != "Fuse") {  // joins the tokens, as every decoding here does
    return UnknownKind("decoder", kind);
  }
  return OkStatus();
}

Status ReadPostProcessor(const JsonValue& json, JsonTemplate& result) {
  const std::string kind = StringOr(json, "type", "");
  if (kind == "Sequence") {
    return ForEachIn(json, "processors",
                     [&](const JsonValue& step) { return ReadPostProcessor(step, result); });
  }
  if (kind == "ByteLevel") return OkStatus();  // changes offsets only
  if (kind == "TemplateProcessing") return ReadTemplate(json, result);
  return UnknownKind("post_processor", kind);
}

}  // namespace kvasir
