// Settings: which source wins, what is refused and in which words.

#include "kvasir/cli/settings.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <map>

#include "kvasir/cli/serve_options.h"

namespace kvasir {
namespace {

// Three settings and their sources.
class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    settings_.AddCount("max-things", &things_, 1, 100, "");
    settings_.AddText("name", &name_, "");
    settings_.AddTexts("origin", &origins_, "");
    settings_.AddSwitch("strict", &strict_, "");
  }
  ~SettingsTest() override { std::remove(path_.c_str()); }

  Status Apply(const std::string& toml, const std::map<std::string, std::string>& environment,
               std::vector<std::string> flags) {
    std::ofstream(path_) << toml;
    CLI::App app;
    settings_.AddFlags(app);
    std::reverse(flags.begin(), flags.end());
    app.parse(flags);
    return settings_.Apply(path_, [&](const char* name) -> const char* {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    });
  }

  size_t things_ = 5;
  std::string name_ = "none";
  std::vector<std::string> origins_;
  bool strict_ = false;
  Settings settings_;
  const std::string path_ = testing::TempDir() + "settings_test.toml";
};

TEST_F(SettingsTest, EachSourceIsStrongerThanTheOneBefore) {
  ASSERT_TRUE(Apply("max_things = 1\nname = \"file\"\nstrict = true\n",
                    {{"KVASIR_MAX_THINGS", "2"}, {"KVASIR_ORIGIN", "a,b"}}, {"--max-things", "3"})
                  .ok());
  EXPECT_EQ(things_, 3u);
  EXPECT_EQ(name_, "file");
  EXPECT_EQ(origins_, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(strict_);
  EXPECT_EQ(
      settings_.Print(),
      "max_things = 3  # flag\nname = \"file\"  # file\norigin = [\"a\",\"b\"]  # environment\n"
      "strict = true  # file\n");
}

TEST_F(SettingsTest, FlagsInEveryForm) {
  ASSERT_TRUE(
      Apply("strict = true", {}, {"--strict=false", "--origin", "a", "--origin", "b"}).ok());
  EXPECT_FALSE(strict_);
  EXPECT_EQ(origins_, (std::vector<std::string>{"a", "b"}));
}

TEST_F(SettingsTest, ASwitchNeedsNoValue) {
  ASSERT_TRUE(Apply("", {}, {"--strict", "--name", "x"}).ok());
  EXPECT_TRUE(strict_);
  EXPECT_EQ(name_, "x");
}

TEST_F(SettingsTest, UnknownKeysAreRefusedWithTheNearest) {
  EXPECT_TRUE(Apply("max_thing = 1", {}, {})
                  .message()
                  .ends_with("unknown key 'max_thing'; did you mean max_things?"));
}

TEST_F(SettingsTest, BadValuesNameTheirSource) {
  EXPECT_TRUE(Apply("max_things = 101", {}, {})
                  .message()
                  .ends_with("max_things: '101' is not a whole number from 1 to 100"));
  EXPECT_EQ(Apply("", {{"KVASIR_STRICT", "yes"}}, {}).message(),
            "KVASIR_STRICT: 'yes' is not true or false");
  EXPECT_EQ(Apply("", {}, {"--max-things", "x"}).message(),
            "--max-things: 'x' is not a whole number from 1 to 100");
  EXPECT_NE(Apply("name = ", {}, {}).message().find("line 1"), std::string::npos);
  EXPECT_NE(Apply("name = {}", {}, {}).message().find("type"), std::string::npos);
}

TEST_F(SettingsTest, VariablesThatAreNoSettingsAreNoticed) {
  const char* const environment[] = {"KVASIR_NAME=x", "KVASIR_NAMES=x", "HOME=/", nullptr};
  EXPECT_EQ(settings_.UnknownVariables(environment), std::vector<std::string>{"KVASIR_NAMES"});
}

TEST(ApiKeysTest, AFileOfThem) {
  const auto keys = ParseApiKeys(
      "[[key]]\nname = \"a\"\nkey = \"secret-of-a\"\nrequests_per_minute = 5\n"
      "[[key]]\nname = \"b\"\nkey = \"secret-of-b\"\nadmin = true\ngroup = \"g\"\n",
      "keys.toml");
  ASSERT_TRUE(keys.ok()) << keys.status().message();
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].requests_per_minute_max, 5u);
  EXPECT_TRUE((*keys)[1].admin);
  EXPECT_EQ((*keys)[1].group, "g");
  EXPECT_EQ(ParseApiKeys("[[key]]\nnme = \"a\"\n", "k").status().message(),
            "k: key 1: unknown member 'nme'; did you mean name?");
  EXPECT_FALSE(ParseApiKeys("[[key]]\nadmin = 1\n", "k").ok());
  EXPECT_FALSE(ParseApiKeys("key = 1\n", "k").ok());
}

}  // namespace
}  // namespace kvasir
