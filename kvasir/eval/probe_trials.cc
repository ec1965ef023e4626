// The contexts, questions and answers of the probes.

#include <algorithm>
#include <random>
#include <string>
#include <utility>

#include "kvasir/eval/probe.h"

namespace kvasir {

namespace {

std::vector<TokenId> Encode(const Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.Encode(text, {.add_special = false, .parse_special = false});
}

void Append(std::span<const TokenId> tokens, std::vector<TokenId>* to) {
  to->insert(to->end(), tokens.begin(), tokens.end());
}

// Five digits, the same in every run.
std::string PasskeyOfTrial(size_t trial) { return std::to_string(10007 + trial * 14737 % 89989); }

// 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, all of them random.
std::string RandomUuid(std::mt19937_64& random) {
  std::string uuid;
  for (size_t i = 0; i < 32; ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) uuid += '-';
    uuid += "0123456789abcdef"[random() % 16];
  }
  return uuid;
}

}  // namespace

ProbeTrial MakePasskeyTrial(const Tokenizer& tokenizer, std::span<const TokenId> text,
                            size_t depth_tokens, size_t trial, size_t trial_count) {
  const std::string key = PasskeyOfTrial(trial);
  const std::vector<TokenId> told = Encode(
      tokenizer, "\n\nThe pass key is " + key + ". Remember it. " + key + " is the pass key.\n\n");
  ProbeTrial made;
  const size_t text_tokens = depth_tokens - told.size();
  const size_t place = text_tokens * (2 * trial + 1) / (2 * trial_count);
  made.context.assign(text.begin(), text.begin() + ptrdiff_t(text_tokens));
  made.context.insert(made.context.begin() + ptrdiff_t(place), told.begin(), told.end());
  made.questions.push_back({Encode(tokenizer, "\n\nWhat is the pass key? The pass key is"),
                            Encode(tokenizer, " " + key)});
  return made;
}

ProbeTrial MakeRetrievalTrial(const Tokenizer& tokenizer, std::span<const TokenId> text,
                              size_t depth_tokens, size_t question_count, uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::vector<TokenId> intro = Encode(tokenizer, "\n\nA list of records, key: value\n\n");
  const std::vector<TokenId> line_end = Encode(tokenizer, "\n");
  std::vector<ProbeQuestion> records;  // as they stand in the list
  size_t list_tokens = intro.size();
  while (true) {
    ProbeQuestion record{Encode(tokenizer, RandomUuid(random) + ":"),
                         Encode(tokenizer, " " + std::to_string(100000 + random() % 900000))};
    const size_t count = record.asked.size() + record.answer.size() + line_end.size();
    if (list_tokens + count > depth_tokens) break;
    list_tokens += count;
    records.push_back(std::move(record));
  }
  ProbeTrial made;
  // Text in front, so that the context has exactly depth_tokens.
  Append(text.first(depth_tokens - list_tokens), &made.context);
  Append(intro, &made.context);
  for (const ProbeQuestion& record : records) {
    Append(record.asked, &made.context);
    Append(record.answer, &made.context);
    Append(line_end, &made.context);
  }
  const size_t count = std::min(question_count, records.size());
  for (size_t i = 0; i < count; ++i) {
    made.questions.push_back(records[records.size() * (2 * i + 1) / (2 * count)]);
  }
  return made;
}

ProbeTrial MakeCopyTrial(std::span<const TokenId> text, size_t length, uint64_t seed) {
  std::vector<TokenId> known(text.begin(), text.end());
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::mt19937_64 random(seed);
  ProbeTrial made;
  std::vector<TokenId> sequence(length);
  for (TokenId& token : sequence) token = known[random() % known.size()];
  Append(sequence, &made.context);
  Append(sequence, &made.context);
  made.questions.push_back({{sequence[0]}, {sequence.begin() + 1, sequence.end()}});
  return made;
}

}  // namespace kvasir
