// Routes: which handler answers which method and path, and who may call it. The one place where a
// request meets keys, limits and the state of the server before its handler runs.

#ifndef KVASIR_SERVER_ROUTES_H_
#define KVASIR_SERVER_ROUTES_H_

#include <memory>
#include <string>
#include <string_view>

#include "kvasir/server/call.h"
#include "kvasir/server/handlers.h"

namespace kvasir {

enum class RouteAccess {
  kOpen,   // without a key
  kUser,   // any key, where there are keys for users
  kAdmin,  // an admin's key, always
};

struct Route {
  std::string_view method;
  std::string_view path;  // one that ends in a slash stands for everything below it
  RouteAccess access;
  bool generates;  // counts against a tenant's limits, and is refused while draining
  Handler handler;
};

// The route of a request; null when the path or the method is unknown: `*allowed` then holds the
// methods that the path has, comma-separated, empty for an unknown path.
const Route* FindRoute(std::string_view method, std::string_view path, std::string* allowed);

// Answers a request: checks host, origin, key and limits, then runs the handler. Never throws.
void HandleRequest(ServerContext& context, std::shared_ptr<const HttpRequest> request,
                   std::shared_ptr<ResponseWriter> writer);

// The name in a Host header, without port and brackets.
std::string_view HostName(std::string_view host_header);

}  // namespace kvasir

#endif  // KVASIR_SERVER_ROUTES_H_
