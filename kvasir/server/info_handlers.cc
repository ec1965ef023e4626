// What a server says about itself: health, models, metrics, version, its own description.

#include <optional>
#include <utility>

#include "kvasir/server/handlers.h"
#include "kvasir/server/openapi.h"

namespace kvasir {

namespace {

Json DescribeModel(const ServedModel& model, const std::string& name) {
  Json meta = model.details();
  meta["n_ctx"] = model.context_tokens();
  meta["n_vocab"] = model.tokenizer().vocab_size();
  return {{"id", name},
          {"object", "model"},
          {"created", model.created_s()},
          {"owned_by", "kvasir"},
          {"max_model_len", model.context_tokens()},
          {"meta", std::move(meta)}};
}

}  // namespace

void HandleLive(std::shared_ptr<Call> call) { call->RespondJson({{"status", "ok"}}); }

void HandleReady(std::shared_ptr<Call> call) {
  if (call->context().draining) return call->Fail(DrainingError());
  if (ModelOf(*call) == nullptr) return;
  call->RespondJson({{"status", "ok"}});
}

void HandleModels(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  if (model == nullptr) return;
  Json data = Json::array();
  for (const std::string& name : model->names()) data.push_back(DescribeModel(*model, name));
  call->RespondJson({{"object", "list"}, {"data", std::move(data)}});
}

void HandleModel(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  if (model == nullptr) return;
  const std::string name = PathTail(*call, "/v1/models/");
  if (!model->HasName(name)) return call->Fail(ModelNotFoundError(name, model->names()));
  call->RespondJson(DescribeModel(*model, name));
}

void HandleMetrics(std::shared_ptr<Call> call) {
  const ServerContext& context = call->context();
  EngineStats stats;
  const ServedModel* model = context.model;
  std::optional<StoreStats> store;
  if (model != nullptr) {
    stats = model->loop().stats();
    store = model->loop().store_stats();
  }
  const HttpServer* http = context.http;
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body =
      context.metrics.Render(model == nullptr ? nullptr : &stats, store ? &*store : nullptr,
                             http == nullptr ? 0 : http->connection_count(),
                             context.UptimeSeconds(), context.options.version);
  call->Respond(std::move(response));
}

void HandleVersion(std::shared_ptr<Call> call) {
  call->RespondJson({{"version", call->context().options.version}});
}

void HandleOpenApi(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  if (model == nullptr) return;
  call->RespondJson(DescribeApi({.version = call->context().options.version,
                                 .model = model->id(),
                                 .vocab_size = model->tokenizer().vocab_size(),
                                 .context_tokens = model->context_tokens(),
                                 .choice_count_max = call->context().options.choice_count_max,
                                 .timeout_ms_max = call->context().options.timeout_ms_max}));
}

}  // namespace kvasir
