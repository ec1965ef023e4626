#include "kvasir/text/normalizer.h"

namespace kvasir {

namespace {

std::string ApplyStep(NormalForm form, std::string_view text) {
  return NormalizeUnicode(text, form);
}

std::string ApplyStep(const PrependStep& step, std::string_view text) {
  return text.empty() ? std::string() : step.text + std::string(text);
}

std::string ApplyStep(const ReplaceStep& step, std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  size_t done = 0;
  for (size_t hit; (hit = text.find(step.from, done)) != std::string_view::npos;) {
    out.append(text.substr(done, hit - done)).append(step.to);
    done = hit + step.from.size();
  }
  out.append(text.substr(done));
  return out;
}

std::string ApplyStep(const RegexReplaceStep& step, std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view valid = text.substr(0, ValidUtf8Bytes(text));
    Regex::Scanner scanner(step.from, valid);
    size_t done = 0;
    for (size_t begin, end; scanner.Next(&begin, &end); done = end) {
      out.append(valid.substr(done, begin - done)).append(step.to);
    }
    out.append(valid.substr(done));
    text.remove_prefix(valid.size());
    if (!text.empty()) {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

std::string ApplyStep(const StripStep& step, std::string_view text) {
  if (step.left) text.remove_prefix(LeadingWhiteSpaceBytes(text));
  if (step.right) text.remove_suffix(TrailingWhiteSpaceBytes(text));
  return std::string(text);
}

}  // namespace

std::string Normalizer::Apply(std::string_view text) const {
  std::string current(text);
  for (const NormalizerStep& step : steps_) {
    current = std::visit([&](const auto& s) { return ApplyStep(s, current); }, step);
  }
  return current;
}

}  // namespace kvasir
