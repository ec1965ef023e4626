#include "kvasir/text/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace kvasir {
namespace {

struct Outcome {
  std::string text;
  std::string matched;
  bool operator==(const Outcome&) const = default;
};

// What the header says, on the whole text.
Outcome Naive(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t at = 0; at < text.size(); ++at) {
    std::string longest;
    for (const std::string& stop : stops) {
      if (text.compare(at, stop.size(), stop) == 0 && stop.size() > longest.size()) longest = stop;
    }
    if (!longest.empty()) return {text.substr(0, at), longest};
  }
  return {text, ""};
}

TEST(StopMatcherTest, AgreesWithANaiveSearchHoweverTheTextIsCut) {
  std::mt19937 random(1);
  const auto below = [&](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  const auto word = [&](size_t length_max) {
    std::string s(below(length_max + 1), 'a');
    for (char& c : s) c = static_cast<char>('a' + below(3));
    return s;
  };
  int matches = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::vector<std::string> stops;
    for (size_t n = below(4); n > 0; --n) stops.push_back(word(6));
    const std::string text = word(30);
    StopMatcher matcher(stops);
    Outcome got;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min(below(5), text.size() - at);
      got.text += matcher.Push(std::string_view(text).substr(at, size));
      at += size;
    }
    got.text += matcher.Finish();
    got.matched = matcher.matched();
    ASSERT_EQ(got, Naive(text, stops)) << text;
    ASSERT_EQ(matcher.stopped(), !got.matched.empty());
    matches += matcher.stopped() ? 1 : 0;
  }
  EXPECT_GT(matches, 10'000);
}

TEST(StopMatcherTest, HoldsBackOnlyWhatMayBecomeAStop) {
  StopMatcher matcher({"END", "stop"});
  EXPECT_EQ(matcher.Push("an E"), "an ");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("s"), "EN");
  EXPECT_EQ(matcher.Push("top and more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), "stop");
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, TheEndOfTheTextDecidesForTheShorterStop) {
  StopMatcher matcher({"ab", "abc"});
  EXPECT_EQ(matcher.Push("xab"), "x");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.Finish(), "");
  EXPECT_EQ(matcher.matched(), "ab");
}

TEST(StopMatcherTest, WithoutStopsNothingIsHeldBack) {
  StopMatcher matcher({""});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Finish(), "");
}

}  // namespace
}  // namespace kvasir
