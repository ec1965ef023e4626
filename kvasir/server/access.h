// KeyRing and RateLimiter: who may do what, and how often. A key is a tenant: its cached prefixes
// are its own unless keys share a group. Keys are compared as digests in constant time and never
// printed. Any thread.

#ifndef KVASIR_SERVER_ACCESS_H_
#define KVASIR_SERVER_ACCESS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/hash.h"

namespace kvasir {

struct ApiKey {
  std::string name;    // of the tenant, for logs; unique
  std::string key;     // the secret
  bool admin = false;  // may also use /v1/kv
  std::string group;   // tenants of one group share cached prefixes; empty: its own name
  uint64_t requests_per_minute_max = 0;  // 0 = no limit
  uint64_t concurrent_requests_max = 0;  // 0 = no limit
};

// One whose requests are let in. Immutable.
struct Tenant {
  std::string name;
  std::string cache_salt;
  bool admin = false;
  uint64_t requests_per_minute_max = 0;
  uint64_t concurrent_requests_max = 0;
};

class KeyRing {
 public:
  explicit KeyRing(const std::vector<ApiKey>& keys);

  // The owner of the key; null for an unknown one. Takes the same time for every key of a length.
  const Tenant* Find(std::string_view key) const;
  // Whoever comes without a key, where that is allowed: null when there are keys for users.
  const Tenant* anonymous() const { return anonymous_.get(); }
  bool has_admin() const;

 private:
  struct Entry {
    Digest digest;
    std::unique_ptr<const Tenant> tenant;
  };
  std::vector<Entry> entries_;
  std::unique_ptr<const Tenant> anonymous_;
};

class RateLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  // What a tenant has left; for x-ratelimit headers.
  struct State {
    bool admitted = false;
    bool too_many_at_once = false;  // why not
    double retry_after_seconds = 0;
    uint64_t remaining = 0;  // requests of this minute
  };

  // Counts a request of `tenant`, when its limits allow one at `now`. Release follows then.
  State Acquire(const Tenant& tenant, Clock::time_point now);
  void Release(const Tenant& tenant);

 private:
  // A bucket of a minute's requests that fills up steadily.
  struct Bucket {
    double level = 0;
    Clock::time_point filled_at = {};
    uint64_t concurrent = 0;
    bool begun = false;
  };
  std::mutex mutex_;
  std::map<const Tenant*, Bucket> buckets_;
};

// The key of "Bearer KEY", or of an x-api-key header; empty when there is none.
std::string_view PresentedKey(std::string_view authorization, std::string_view x_api_key);

// Whether only this machine can reach `host`: "127.0.0.1", "::1", "localhost".
bool IsLoopbackHost(std::string_view host);

}  // namespace kvasir

#endif  // KVASIR_SERVER_ACCESS_H_
