#include "kvasir/loadgen/prompt_maker.h"

#include <span>
#include <utility>

namespace kvasir {

namespace {

// Short, common and in every vocabulary: most tokenizers have each of them as one token behind a
// blank.
constexpr std::string_view kWords =
    " time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city community name president team minute idea body information back "
    "parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education foot boy age policy "
    "music market sense nation plan college interest death experience effect use class control "
    "field development role effort rate heart drug show leader light voice wife police mind price "
    "report decision son view relationship town road arm difference value building action season "
    "society tax director position player record paper space ground form event matter center site "
    "project star table need court oil situation cost industry figure street image phone data "
    "picture practice piece land product doctor wall news test movie north love step hall summer "
    "glass answer sound green blue red black white deep cold warm early late small large open ";

// SplitMix64: one multiply-and-shift step after another, so that near seeds give far numbers.
uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

std::vector<std::string> AllWords() {
  std::vector<std::string> words;
  for (size_t begin = 0, end; (end = kWords.find(' ', begin + 1)) != std::string_view::npos;
       begin = end) {
    words.emplace_back(kWords.substr(begin, end - begin));
  }
  return words;
}

std::string Join(std::span<const std::string> words) {
  std::string text;
  for (const std::string& word : words) text += word;
  return text;
}

// Appends to `kept` the words that are one token each. A text that counts as many tokens as words
// has no longer one, because no word is less than a token; a text with a longer one is halved.
Status KeepSingleTokens(const TokenCounter& counter, std::span<const std::string> words,
                        std::vector<std::string>* kept) {
  KVASIR_ASSIGN_OR_RETURN(const size_t count, counter(Join(words)));
  if (count == words.size()) {
    kept->insert(kept->end(), words.begin(), words.end());
    return OkStatus();
  }
  if (words.size() == 1) return OkStatus();
  const size_t half = words.size() / 2;
  KVASIR_RETURN_IF_ERROR(KeepSingleTokens(counter, words.first(half), kept));
  return KeepSingleTokens(counter, words.subspan(half), kept);
}

}  // namespace

uint64_t MixSeeds(uint64_t a, uint64_t b) {
  uint64_t state = a;
  state = NextRandom(&state) ^ b;
  return NextRandom(&state);
}

Result<PromptMaker> PromptMaker::Create(const TokenCounter& counter) {
  PromptMaker maker;
  std::vector<std::string> words = AllWords();
  if (counter == nullptr) {
    maker.words_ = std::move(words);
    return maker;
  }
  KVASIR_RETURN_IF_ERROR(KeepSingleTokens(counter, words, &maker.words_));
  if (maker.words_.size() < kWordCountMin) {
    return Unimplemented("the tokenizer has only " + std::to_string(maker.words_.size()) +
                         " of the words that prompts are made of as single tokens, and " +
                         std::to_string(kWordCountMin) + " are needed");
  }
  maker.exact_ = true;
  return maker;
}

std::string PromptMaker::Text(uint64_t seed, size_t token_count) const {
  std::string text;
  for (size_t i = 0; i < token_count; ++i) text += words_[NextRandom(&seed) % words_.size()];
  return text;
}

}  // namespace kvasir
