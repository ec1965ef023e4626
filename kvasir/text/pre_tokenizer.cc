#include "kvasir/text/pre_tokenizer.h"

#include <algorithm>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

struct Segment {
  size_t begin;
  size_t end;
  bool match;
};

// Calls `on_match` with the matches of `step` in `text`, left to right.
template <typename OnMatch>
void ForEachMatch(const SplitStep& step, std::string_view text, const OnMatch& on_match) {
  if (const Regex* regex = std::get_if<Regex>(&step.pattern)) {
    Regex::Scanner scanner(*regex, text);
    for (size_t begin, end; scanner.Next(&begin, &end);) on_match(begin, end);
    return;
  }
  const std::string& literal = std::get<std::string>(step.pattern);
  for (size_t begin = 0; (begin = text.find(literal, begin)) != std::string_view::npos;) {
    on_match(begin, begin + literal.size());
    begin += literal.size();
  }
}

// Matches and what lies between them, covering the text.
std::vector<Segment> Segments(const SplitStep& step, std::string_view text) {
  std::vector<Segment> segments;
  size_t done = 0;
  ForEachMatch(step, text, [&](size_t begin, size_t end) {
    if (begin > done) segments.push_back({done, begin, step.invert});
    segments.push_back({begin, end, !step.invert});
    done = end;
  });
  if (done < text.size()) segments.push_back({done, text.size(), step.invert});
  return segments;
}

// Joins neighbours as the behaviour says. A match joins a piece only when no other match lies
// between them: of "▁▁▁a" the last "▁" joins the "a".
std::vector<Segment> Join(const std::vector<Segment>& segments, SplitBehavior behavior) {
  std::vector<Segment> joined;
  for (const Segment& s : segments) {
    const bool follows = !joined.empty();
    const Segment* last = follows ? &joined.back() : nullptr;
    bool join = false;
    if (behavior == SplitBehavior::kContiguous) join = follows && last->match == s.match;
    if (behavior == SplitBehavior::kMergedWithPrevious) join = follows && s.match && !last->match;
    if (behavior == SplitBehavior::kMergedWithNext) join = follows && !s.match && last->match;
    if (behavior == SplitBehavior::kRemoved && s.match) continue;
    if (join) {
      joined.back().end = s.end;
      joined.back().match = s.match;
    } else {
      joined.push_back(s);
    }
  }
  return joined;
}

}  // namespace

void PreTokenizer::Split(std::string_view text, bool at_text_start, const Sink& sink) const {
  while (!text.empty()) {
    const size_t valid = ValidUtf8Bytes(text);
    if (valid > 0) Run(0, text.substr(0, valid), at_text_start, sink);
    text.remove_prefix(valid);
    if (valid > 0) at_text_start = false;
    size_t malformed = 0;
    while (malformed < text.size() && !DecodeUtf8(text.substr(malformed)).valid) ++malformed;
    if (malformed > 0) {
      sink(text.substr(0, malformed));
      at_text_start = false;
    }
    text.remove_prefix(malformed);
  }
}

void PreTokenizer::Run(size_t index, std::string_view piece, bool at_text_start,
                       const Sink& sink) const {
  if (index == steps_.size()) {
    sink(piece);
    return;
  }
  if (const auto* prefix = std::get_if<PrefixStep>(&steps_[index])) {
    const bool has_it = prefix->only_if_missing && piece.starts_with(prefix->text);
    if (has_it || (prefix->only_at_text_start && !at_text_start)) {
      return Run(index + 1, piece, at_text_start, sink);
    }
    return Run(index + 1, prefix->text + std::string(piece), at_text_start, sink);
  }
  if (const auto* replace = std::get_if<PieceReplaceStep>(&steps_[index])) {
    std::string changed(piece);
    for (size_t at = 0; (at = changed.find(replace->from, at)) != std::string::npos;) {
      changed.replace(at, replace->from.size(), replace->to);
      at += replace->to.size();
    }
    return Run(index + 1, changed, at_text_start, sink);
  }
  const SplitStep& split = std::get<SplitStep>(steps_[index]);
  const auto emit = [&](size_t begin, size_t end) {
    Run(index + 1, piece.substr(begin, end - begin), at_text_start && begin == 0, sink);
  };
  if (split.behavior == SplitBehavior::kIsolated) {  // the usual one, without a list
    size_t done = 0;
    ForEachMatch(split, piece, [&](size_t begin, size_t end) {
      if (begin > done) emit(done, begin);
      emit(begin, end);
      done = end;
    });
    if (done < piece.size()) emit(done, piece.size());
    return;
  }
  for (const Segment& s : Join(Segments(split, piece), split.behavior)) emit(s.begin, s.end);
}

}  // namespace kvasir
