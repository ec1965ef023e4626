// StopMatcher: finds stop strings in a stream of text pieces, holding back just the text that could
// still become one, so that no piece of a stop string is ever shown. One per answer; not for
// concurrent use.

#ifndef KVASIR_TEXT_STOP_MATCHER_H_
#define KVASIR_TEXT_STOP_MATCHER_H_

#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

class StopMatcher {
 public:
  // Empty strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes the next piece, returns the text that is now safe to show. After a match: the text before
  // the earliest stop string (of several that begin there, the longest), and nothing from then on.
  // What matches depends on the whole text alone, not on how it is cut into pieces: with the stops
  // "ab" and "abc", "ab" matches only when the next character is known.
  std::string Push(std::string_view piece);
  // The text held back when the answer ends. May find a match: the text before it, then.
  std::string Finish();

  bool stopped() const { return stopped_; }
  // The stop string that matched; empty before.
  const std::string& matched() const { return matched_; }

 private:
  // Takes the safe text off held_.
  std::string Release(bool at_end);

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
  std::string matched_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_STOP_MATCHER_H_
