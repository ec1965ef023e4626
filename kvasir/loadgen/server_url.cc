#include "kvasir/loadgen/server_url.h"

#include <algorithm>
#include <charconv>

namespace kvasir {

namespace {

constexpr std::string_view kScheme = "http://";

bool IsPort(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

}  // namespace

std::string ServerUrl::Text() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return std::string(kScheme) + (is_v6 ? "[" + host + "]" : host) + ":" + port + path;
}

Result<ServerUrl> ParseServerUrl(std::string_view text) {
  const std::string quoted = "'" + std::string(text) + "'";
  if (text.starts_with("https://")) {
    return Unimplemented(quoted + " is encrypted: the load generator speaks plain http only");
  }
  const bool is_clean = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7F;
  });
  if (!text.starts_with(kScheme) || !is_clean) {
    return InvalidArgument(quoted + " is not a URL such as http://127.0.0.1:8080");
  }
  text.remove_prefix(kScheme.size());
  ServerUrl url;
  const size_t slash = std::min(text.find_first_of("/?#"), text.size());
  std::string_view authority = text.substr(0, slash);
  std::string_view path = text.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  url.path = path;

  size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return InvalidArgument(quoted + " lacks a ]");
    url.host = authority.substr(1, bracket - 1);
    colon = bracket + 1 < authority.size() ? bracket + 1 : std::string_view::npos;
  } else {
    url.host = authority.substr(0, std::min(colon, authority.size()));
  }
  url.port = colon == std::string_view::npos ? "80" : authority.substr(colon + 1);
  if (url.host.empty()) return InvalidArgument(quoted + " names no host");
  if (url.host.find('@') != std::string::npos || path.find_first_of("?#") != path.npos) {
    return InvalidArgument(quoted + " has more than a host, a port and a path");
  }
  if (!IsPort(url.port)) {
    return InvalidArgument(quoted + " has the port '" + url.port +
                           "', which is not a number from 1 to 65535");
  }
  return url;
}

}  // namespace kvasir
