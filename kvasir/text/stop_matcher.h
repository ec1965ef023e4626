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
  std::string Push(std::string_view piece);
  // The text held back when the answer ends without a match.
  std::string Finish();

  bool stopped() const { return stopped_; }
  // The stop string that matched; empty before.
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
  std::string matched_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_STOP_MATCHER_H_
