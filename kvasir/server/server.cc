#include "kvasir/server/server.h"

#include <set>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/server/call.h"
#include "kvasir/server/routes.h"

namespace kvasir {

namespace {

// For the last bytes of answers to leave, when the server ends.
constexpr uint32_t kClosePatienceMs = 2000;

HttpResponse RenderFailure(ServerContext& context, const HttpFailure& failure,
                           const std::string& request_id, const std::string& peer) {
  const ApiError error = HttpLevelError(failure);
  context.metrics.CountResponse("malformed", error.status);
  context.log.Write(
      "request",
      {{"id", request_id}, {"peer", peer}, {"status", error.status}, {"code", error.code}});
  return ErrorResponse(error, request_id);
}

bool HasUserKey(const ServerOptions& options) {
  for (const ApiKey& key : options.keys) {
    if (!key.admin) return true;
  }
  return false;
}

Status CheckKeys(const std::vector<ApiKey>& keys) {
  constexpr size_t kKeyBytesMin = 8;
  std::set<std::string> names, secrets;
  for (const ApiKey& key : keys) {
    if (key.name.empty() || !names.insert(key.name).second) {
      return InvalidArgument("API keys need names that differ, not '" + key.name + "'");
    }
    if (key.key.size() < kKeyBytesMin) {
      return InvalidArgument("the API key of '" + key.name + "' has fewer than " +
                             std::to_string(kKeyBytesMin) + " characters");
    }
    if (!secrets.insert(key.key).second) {
      return InvalidArgument("the API key of '" + key.name + "' is another's, too");
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckServerOptions(const ServerOptions& options) {
  const HttpServerOptions& http = options.http;
  KVASIR_RETURN_IF_ERROR(CheckKeys(options.keys));
  if (http.tls_certificate.empty() != http.tls_key.empty()) {
    return InvalidArgument("TLS needs both a certificate and a key (tls-cert, tls-key)");
  }
  if (http.host.empty() && http.unix_socket.empty()) {
    return InvalidArgument("there is nothing to listen on: give a host or a unix-socket");
  }
  if (!http.host.empty() && !IsLoopbackHost(http.host) && !HasUserKey(options) &&
      !options.insecure) {
    return InvalidArgument("the host " + http.host +
                           " can be reached from other machines and there is no API key: set "
                           "KVASIR_API_KEY or api-keys, or say --insecure");
  }
  return OkStatus();
}

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  KVASIR_RETURN_IF_ERROR(CheckServerOptions(options));
  auto server = std::unique_ptr<Server>(new Server(options));
  ServerContext& context = *server->context_;
  KVASIR_ASSIGN_OR_RETURN(
      server->http_,
      HttpServer::Start(
          options.http,
          [&context](auto request, auto writer) {
            HandleRequest(context, std::move(request), std::move(writer));
          },
          [&context](const HttpFailure& failure, const std::string& id, const std::string& peer) {
            return RenderFailure(context, failure, id, peer);
          }));
  context.http = server->http_.get();
  return server;
}

Server::Server(const ServerOptions& options) : context_(std::make_unique<ServerContext>(options)) {}

Server::~Server() { Stop(); }

void Server::SetModel(std::unique_ptr<ServedModel> model) {
  KVASIR_CHECK(model_ == nullptr);
  model_ = std::move(model);
  context_->model = model_.get();
}

void Server::BeginDrain() { context_->draining = true; }

bool Server::idle() const { return context_->call_count == 0; }

void Server::Stop() {
  BeginDrain();
  // The engine first: what runs ends with an answer that says so.
  if (model_ != nullptr) model_->loop().Stop();
  if (http_ != nullptr && !http_->Stop(/*force=*/false, kClosePatienceMs)) {
    http_->Stop(/*force=*/true, kClosePatienceMs);
  }
  http_.reset();
}

uint16_t Server::port() const { return http_->port(); }

}  // namespace kvasir
