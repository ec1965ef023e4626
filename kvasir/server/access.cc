#include "kvasir/server/access.h"

#include <algorithm>
#include <utility>

namespace kvasir {

namespace {

constexpr double kSecondsPerMinute = 60;
// When a slot becomes free nobody knows: soon.
constexpr double kConcurrencyRetrySeconds = 1;

std::unique_ptr<Tenant> MakeTenant(const ApiKey& key) {
  auto tenant = std::make_unique<Tenant>();
  tenant->name = key.name;
  tenant->cache_salt = key.group.empty() ? "tenant:" + key.name : "group:" + key.group;
  tenant->admin = key.admin;
  tenant->requests_per_minute_max = key.requests_per_minute_max;
  tenant->concurrent_requests_max = key.concurrent_requests_max;
  return tenant;
}

// All bytes are looked at, wherever the first difference is.
bool EqualInConstantTime(const Digest& a, const Digest& b) {
  unsigned difference = 0;
  for (size_t i = 0; i < a.bytes.size(); ++i) {
    difference |= std::to_integer<unsigned>(a.bytes[i] ^ b.bytes[i]);
  }
  return difference == 0;
}

Digest DigestOf(std::string_view key) {
  Sha256 hash;
  hash.Update(key);
  return hash.Finish();
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

KeyRing::KeyRing(const std::vector<ApiKey>& keys) {
  bool has_users = false;
  for (const ApiKey& key : keys) {
    entries_.push_back({DigestOf(key.key), MakeTenant(key)});
    has_users = has_users || !key.admin;
  }
  if (!has_users) {
    Tenant open;
    open.name = "anonymous";
    anonymous_ = std::make_unique<const Tenant>(std::move(open));
  }
}

const Tenant* KeyRing::Find(std::string_view key) const {
  const Digest digest = DigestOf(key);
  const Tenant* found = nullptr;
  for (const Entry& entry : entries_) {
    if (EqualInConstantTime(entry.digest, digest)) found = entry.tenant.get();
  }
  return found;
}

bool KeyRing::has_admin() const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const Entry& entry) { return entry.tenant->admin; });
}

RateLimiter::State RateLimiter::Acquire(const Tenant& tenant, Clock::time_point now) {
  State state;
  std::lock_guard lock(mutex_);
  Bucket& bucket = buckets_[&tenant];
  const double size = static_cast<double>(tenant.requests_per_minute_max);
  if (!std::exchange(bucket.begun, true)) {
    bucket.level = size;
    bucket.filled_at = now;
  }
  const double per_second = size / kSecondsPerMinute;
  const double elapsed_seconds = std::chrono::duration<double>(now - bucket.filled_at).count();
  bucket.level = std::min(size, bucket.level + std::max(elapsed_seconds, 0.0) * per_second);
  bucket.filled_at = now;
  if (tenant.concurrent_requests_max > 0 && bucket.concurrent >= tenant.concurrent_requests_max) {
    state.too_many_at_once = true;
    state.retry_after_seconds = kConcurrencyRetrySeconds;
  } else if (size > 0 && bucket.level < 1) {
    state.retry_after_seconds = (1 - bucket.level) / per_second;
  } else {
    state.admitted = true;
    ++bucket.concurrent;
    if (size > 0) bucket.level -= 1;
  }
  state.remaining = static_cast<uint64_t>(std::max(bucket.level, 0.0));
  return state;
}

void RateLimiter::Release(const Tenant& tenant) {
  std::lock_guard lock(mutex_);
  --buckets_[&tenant].concurrent;
}

std::string_view PresentedKey(std::string_view authorization, std::string_view x_api_key) {
  constexpr std::string_view kScheme = "Bearer ";
  if (authorization.size() > kScheme.size() &&
      EqualIgnoringCase(authorization.substr(0, kScheme.size()), kScheme)) {
    authorization.remove_prefix(kScheme.size());
    return authorization.substr(
        std::min(authorization.find_first_not_of(' '), authorization.size()));
  }
  return x_api_key;
}

bool IsLoopbackHost(std::string_view host) {
  if (host.starts_with("[") && host.ends_with("]")) host = host.substr(1, host.size() - 2);
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace kvasir
