// Keys, tenants and their limits.

#include "kvasir/server/access.h"

#include <gtest/gtest.h>

#include "kvasir/server/server_options.h"

namespace kvasir {
namespace {

ApiKey Key(const std::string& name, const std::string& secret) {
  ApiKey key;
  key.name = name;
  key.key = secret;
  return key;
}

TEST(KeyRingTest, FindsTenantsAndKeepsThemApart) {
  ApiKey bob = Key("bob", "bob-secret"), carol = Key("carol", "carol-secret");
  bob.group = carol.group = "team";
  const KeyRing keys({Key("alice", "alice-secret"), bob, carol});
  ASSERT_NE(keys.Find("alice-secret"), nullptr);
  EXPECT_EQ(keys.Find("alice-secret")->name, "alice");
  EXPECT_EQ(keys.Find("alice-secre"), nullptr);
  EXPECT_EQ(keys.Find(""), nullptr);
  EXPECT_EQ(keys.anonymous(), nullptr);
  EXPECT_FALSE(keys.has_admin());
  EXPECT_EQ(keys.Find("bob-secret")->cache_salt, keys.Find("carol-secret")->cache_salt);
  EXPECT_NE(keys.Find("bob-secret")->cache_salt, keys.Find("alice-secret")->cache_salt);
  // A tenant cannot name itself into a group.
  const KeyRing forged({Key("group:team", "x-secret-1"), bob});
  EXPECT_NE(forged.Find("x-secret-1")->cache_salt, forged.Find("bob-secret")->cache_salt);
}

TEST(KeyRingTest, WithoutKeysForUsersAnybodyMayAsk) {
  ApiKey admin = Key("admin", "admin-secret");
  admin.admin = true;
  const KeyRing keys({admin});
  EXPECT_NE(keys.anonymous(), nullptr);
  EXPECT_TRUE(keys.has_admin());
}

TEST(RateLimiterTest, AMinutesRequestsThenOneAtATime) {
  Tenant tenant;
  tenant.requests_per_minute_max = 60;
  RateLimiter limiter;
  const RateLimiter::Clock::time_point start{};
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(limiter.Acquire(tenant, start).admitted) << i;
  const RateLimiter::State refused = limiter.Acquire(tenant, start);
  EXPECT_FALSE(refused.admitted);
  EXPECT_NEAR(refused.retry_after_seconds, 1, 1e-9);
  EXPECT_TRUE(limiter.Acquire(tenant, start + std::chrono::milliseconds(1001)).admitted);
  EXPECT_FALSE(limiter.Acquire(tenant, start + std::chrono::milliseconds(1500)).admitted);
}

TEST(RateLimiterTest, SoManyAtOnce) {
  Tenant tenant;
  tenant.concurrent_requests_max = 2;
  RateLimiter limiter;
  const RateLimiter::Clock::time_point now{};
  EXPECT_TRUE(limiter.Acquire(tenant, now).admitted);
  EXPECT_TRUE(limiter.Acquire(tenant, now).admitted);
  EXPECT_TRUE(limiter.Acquire(tenant, now).too_many_at_once);
  limiter.Release(tenant);
  EXPECT_TRUE(limiter.Acquire(tenant, now).admitted);
}

TEST(AccessTest, KeysInHeaders) {
  EXPECT_EQ(PresentedKey("Bearer abc", ""), "abc");
  EXPECT_EQ(PresentedKey("bearer   abc", "other"), "abc");
  EXPECT_EQ(PresentedKey("Basic abc", "other"), "other");
  EXPECT_EQ(PresentedKey("", ""), "");
}

TEST(ServerOptionsTest, OpensToOthersOnlyWithAKey) {
  ServerOptions options;
  EXPECT_TRUE(CheckServerOptions(options).ok());
  options.http.host = "0.0.0.0";
  EXPECT_NE(CheckServerOptions(options).message().find("KVASIR_API_KEY"), std::string::npos);
  ApiKey admin = Key("admin", "admin-secret");
  admin.admin = true;
  options.keys = {admin};
  EXPECT_FALSE(CheckServerOptions(options).ok());
  options.keys.push_back(Key("user", "user-secret"));
  EXPECT_TRUE(CheckServerOptions(options).ok());
  options.keys.push_back(Key("user", "other-secret"));
  EXPECT_FALSE(CheckServerOptions(options).ok());
  options.keys = {Key("a", "same-secret"), Key("b", "same-secret")};
  EXPECT_FALSE(CheckServerOptions(options).ok());
  options.keys = {Key("a", "short")};
  EXPECT_FALSE(CheckServerOptions(options).ok());
}

}  // namespace
}  // namespace kvasir
