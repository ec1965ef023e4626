#include "kvasir/server/openapi.h"

#include <utility>

#include "kvasir/engine/request.h"

namespace kvasir {

namespace {

Json Ref(const std::string& name) { return {{"$ref", "#/components/schemas/" + name}}; }
Json String() { return {{"type", "string"}}; }
Json Boolean() { return {{"type", "boolean"}}; }
Json Integer() { return {{"type", "integer"}}; }
Json AnyObject() { return {{"type", "object"}}; }
Json Array(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json Nullable(Json schema) {
  schema["nullable"] = true;
  return schema;
}
Json Range(const char* type, double min, double max) {
  if (std::string_view(type) == "integer") {
    return {{"type", type},
            {"minimum", static_cast<int64_t>(min)},
            {"maximum", static_cast<int64_t>(max)},
            {"nullable", true}};
  }
  return {{"type", type}, {"minimum", min}, {"maximum", max}, {"nullable", true}};
}
// An object with these properties; all of them are always there.
Json Exactly(Json properties) {
  Json required = Json::array();
  for (const auto& [name, schema] : properties.items()) required.push_back(name);
  return {{"type", "object"}, {"required", std::move(required)}, {"properties", properties}};
}

// What fits into the context whatever it says: a byte is a token at most, and some are needed for
// the chat template and the answer.
size_t PromptBytesMax(const ApiDescription& api) { return api.context_tokens / 8; }

Json TokenId(const ApiDescription& api) {
  return {{"type", "integer"}, {"minimum", 0}, {"maximum", api.vocab_size - 1}};
}

Json TokenIds(const ApiDescription& api, size_t count_min) {
  Json ids = Array(TokenId(api));
  ids["minItems"] = count_min;
  ids["maxItems"] = PromptBytesMax(api);
  return ids;
}

// The members that chat and text completions share.
Json SharedParameters(const ApiDescription& api) {
  const double tokens_max = static_cast<double>(api.context_tokens / 2);
  Json stop = {{"type", "string"}, {"minLength", 1}, {"maxLength", 255}};
  Json stops = Array(stop);
  stops["maxItems"] = 16;
  return {
      {"model", {{"type", "string"}, {"enum", {api.model}}}},
      {"n", Range("integer", 1, 4)},
      {"max_tokens", Range("integer", 1, tokens_max)},
      {"max_completion_tokens", Range("integer", 1, tokens_max)},
      {"ignore_eos", Nullable(Boolean())},
      {"stop", {{"oneOf", {stop, stops}}}},
      {"temperature", Range("number", 0, 2)},
      {"top_p", Range("number", 0, 1)},
      {"min_p", Range("number", 0, 1)},
      {"top_k", Range("integer", -1, 1 << 20)},
      {"seed", Nullable(Integer())},
      {"presence_penalty", Range("number", -2, 2)},
      {"frequency_penalty", Range("number", -2, 2)},
      {"repetition_penalty", Range("number", 0.01, 10)},
      {"skip_special_tokens", Nullable(Boolean())},
      {"return_token_ids", Nullable(Boolean())},
      {"timeout_ms", Range("integer", 60'000, static_cast<double>(api.timeout_ms_max))},
      {"user", Nullable(String())},
      {"prompt_cache_key", {{"type", "string"}, {"maxLength", 64}, {"nullable", true}}},
      {"cache_salt", {{"type", "string"}, {"maxLength", 64}, {"nullable", true}}},
      {"stream", Nullable(Boolean())},
  };
}

Json ChatRequestSchema(const ApiDescription& api) {
  // Four messages of four parts, each character up to four bytes, in half of the context.
  Json text = {{"type", "string"}, {"maxLength", api.context_tokens / 128}};
  Json part = Exactly({{"type", {{"type", "string"}, {"enum", {"text"}}}}, {"text", text}});
  Json parts = Array(part);
  parts["minItems"] = 1;
  parts["maxItems"] = 4;
  Json message = Exactly({{"role", {{"type", "string"}, {"enum", {"system", "user", "assistant"}}}},
                          {"content", {{"oneOf", {text, parts}}}}});
  message["additionalProperties"] = false;
  Json messages = Array(message);
  messages["minItems"] = 1;
  messages["maxItems"] = 4;
  Json properties = SharedParameters(api);
  properties["messages"] = std::move(messages);
  properties["logprobs"] = Nullable(Boolean());
  properties["add_generation_prompt"] = Nullable(Boolean());
  return {{"type", "object"}, {"required", {"messages"}}, {"properties", std::move(properties)}};
}

Json CompletionRequestSchema(const ApiDescription& api) {
  Json text = {{"type", "string"}, {"minLength", 1}, {"maxLength", PromptBytesMax(api) / 4}};
  Json texts = Array(text);
  texts["minItems"] = 1;
  texts["maxItems"] = 4;
  Json id_lists = Array(TokenIds(api, 1));
  id_lists["minItems"] = 1;
  id_lists["maxItems"] = 4;
  Json properties = SharedParameters(api);
  properties["prompt"] = {{"anyOf", {text, texts, TokenIds(api, 1), id_lists}}};
  properties["echo"] = Nullable(Boolean());
  properties["logprobs"] = Range("integer", 0, kTopLogprobCountMax);
  return {{"type", "object"}, {"required", {"prompt"}}, {"properties", std::move(properties)}};
}

Json UsageSchema() {
  return Exactly({{"prompt_tokens", Integer()},
                  {"completion_tokens", Integer()},
                  {"total_tokens", Integer()},
                  {"prompt_tokens_details",
                   Exactly({{"cached_tokens", Integer()}, {"cache_write_tokens", Integer()}})}});
}

Json ReplySchema(const char* object, Json choice) {
  return Exactly({{"id", String()},
                  {"object", {{"type", "string"}, {"enum", {object}}}},
                  {"created", Integer()},
                  {"model", String()},
                  {"choices", Array(std::move(choice))},
                  {"usage", UsageSchema()}});
}

Json FinishReasonSchema() { return {{"type", "string"}, {"enum", {"stop", "length"}}}; }

Json Schemas(const ApiDescription& api) {
  Json schemas;
  schemas["Error"] = Exactly({{"error", Exactly({{"message", String()},
                                                 {"type", String()},
                                                 {"param", Nullable(String())},
                                                 {"code", String()},
                                                 {"request_id", String()}})}});
  schemas["ChatRequest"] = ChatRequestSchema(api);
  schemas["CompletionRequest"] = CompletionRequestSchema(api);
  schemas["ChatReply"] = ReplySchema(
      "chat.completion", Exactly({{"index", Integer()},
                                  {"message", Exactly({{"role", String()}, {"content", String()}})},
                                  {"logprobs", Nullable(AnyObject())},
                                  {"finish_reason", FinishReasonSchema()}}));
  schemas["CompletionReply"] =
      ReplySchema("text_completion", Exactly({{"index", Integer()},
                                              {"text", String()},
                                              {"logprobs", Nullable(AnyObject())},
                                              {"finish_reason", FinishReasonSchema()}}));
  schemas["Model"] = Exactly({{"id", String()},
                              {"object", String()},
                              {"created", Integer()},
                              {"owned_by", String()},
                              {"max_model_len", Integer()},
                              {"meta", AnyObject()}});
  schemas["ModelList"] = Exactly({{"object", String()}, {"data", Array(Ref("Model"))}});
  schemas["Prefix"] = Exactly(
      {{"id", String()}, {"salt", String()}, {"token_count", Integer()}, {"pinned", Boolean()}});
  schemas["PrefixList"] = Exactly({{"object", String()}, {"data", Array(Ref("Prefix"))}});
  schemas["Dropped"] = Exactly({{"dropped_block_count", Integer()}});
  schemas["Status"] = Exactly({{"status", String()}});
  schemas["Version"] = Exactly({{"version", String()}});
  schemas["Tokens"] =
      Exactly({{"tokens", Array(Integer())}, {"count", Integer()}, {"max_model_len", Integer()}});
  schemas["Text"] = Exactly({{"content", String()}, {"prompt", String()}});
  schemas["Prompt"] = Exactly({{"prompt", String()}});
  schemas["CacheStats"] = AnyObject();
  return schemas;
}

Json JsonContent(Json schema) { return {{"application/json", {{"schema", std::move(schema)}}}}; }

// One operation: what it answers, and the failures that every one of its kind has.
Json Operation(const char* summary, Json ok_content, const char* security, bool has_body) {
  Json responses = {{"200", {{"description", "Done."}, {"content", std::move(ok_content)}}}};
  const auto add_error = [&](const char* status, const char* description) {
    responses[status] = {{"description", description}, {"content", JsonContent(Ref("Error"))}};
  };
  add_error("400", "The request is not right: error.param says where.");
  add_error("403", "Not allowed with this key, host or origin.");
  if (security != nullptr) add_error("401", "A key is missing or wrong.");
  if (has_body) {
    add_error("413", "The body is too large.");
    add_error("415", "The body is not application/json.");
    add_error("408", "The request's deadline passed.");
    add_error("429", "The key's limits are reached; Retry-After says when to come back.");
  }
  add_error("404", "No such model, prefix or path.");
  add_error("431", "The headers are too large.");
  add_error("503", "Overloaded, loading or shutting down; Retry-After says when to come back.");
  Json operation = {{"summary", summary}, {"responses", std::move(responses)}};
  if (security != nullptr) operation["security"] = {{{security, Json::array()}}};
  return operation;
}

Json WithBody(Json operation, Json schema) {
  operation["requestBody"] = {{"required", true}, {"content", JsonContent(std::move(schema))}};
  return operation;
}

Json WithPathId(Json operation, const char* name) {
  operation["parameters"] = {{{"name", name},
                              {"in", "path"},
                              {"required", true},
                              {"schema", {{"type", "string"}, {"minLength", 1}}}}};
  return operation;
}

Json QueryParameter(const char* name, Json schema) {
  return {{"name", name}, {"in", "query"}, {"required", false}, {"schema", std::move(schema)}};
}

Json StreamOrJson(const char* schema) {
  Json content = JsonContent(Ref(schema));
  content["text/event-stream"] = {{"schema", Json::object()}};
  return content;
}

void AddTextPaths(const ApiDescription& api, Json* paths) {
  const Json text = {{"type", "string"}, {"maxLength", PromptBytesMax(api)}};
  const Json content = {{"type", "object"},
                        {"required", {"content"}},
                        {"properties",
                         {{"content", text},
                          {"add_special", Nullable(Boolean())},
                          {"parse_special", Nullable(Boolean())},
                          {"return_token_strs", Nullable(Boolean())}}}};
  const Json tokens = {
      {"type", "object"}, {"required", {"tokens"}}, {"properties", {{"tokens", TokenIds(api, 0)}}}};
  const Json chat = {{"type", "object"},
                     {"required", {"messages"}},
                     {"properties",
                      {{"messages", ChatRequestSchema(api)["properties"]["messages"]},
                       {"add_generation_prompt", Nullable(Boolean())}}}};
  (*paths)["/tokenize"]["post"] = WithBody(
      Operation("Text or messages as tokens.", JsonContent(Ref("Tokens")), "key", true), content);
  (*paths)["/detokenize"]["post"] =
      WithBody(Operation("Tokens as text.", JsonContent(Ref("Text")), "key", true), tokens);
  (*paths)["/apply-template"]["post"] = WithBody(
      Operation("The prompt that messages make.", JsonContent(Ref("Prompt")), "key", true), chat);
}

void AddCachePaths(const ApiDescription& api, Json* paths) {
  const Json prefix = {{"type", "object"},
                       {"required", {"prompt"}},
                       {"properties",
                        {{"prompt", {{"type", "string"}, {"maxLength", PromptBytesMax(api)}}},
                         {"salt", {{"type", "string"}, {"maxLength", 64}, {"nullable", true}}}}}};
  (*paths)["/v1/kv/stats"]["get"] =
      Operation("What the prefix cache holds.", JsonContent(Ref("CacheStats")), "admin", false);
  (*paths)["/v1/kv/lookup"]["post"] = WithBody(
      Operation("How much of a prompt is cached.", JsonContent(Ref("Prefix")), "admin", true),
      prefix);
  (*paths)["/v1/kv/warm"]["post"] = WithBody(
      Operation("Loads a prompt from disk.", JsonContent(AnyObject()), "admin", true), prefix);
  Json list = Operation("Cached prefixes, the most recently used first.",
                        JsonContent(Ref("PrefixList")), "admin", false);
  list["parameters"] = {
      QueryParameter("limit", {{"type", "integer"}, {"minimum", 0}, {"maximum", 10000}}),
      QueryParameter("tokens", {{"type", "integer"}, {"minimum", 0}, {"maximum", 4096}})};
  (*paths)["/v1/kv/prefixes"]["get"] = std::move(list);
  Json drop = Operation("Forgets all prefixes, or those of one salt.", JsonContent(Ref("Dropped")),
                        "admin", false);
  drop["parameters"] = {QueryParameter("salt", String())};
  (*paths)["/v1/kv/prefixes"]["delete"] = std::move(drop);
  (*paths)["/v1/kv/prefixes/{id}"]["delete"] =
      WithPathId(Operation("Forgets a prefix and what continues it.", JsonContent(Ref("Dropped")),
                           "admin", false),
                 "id");
  (*paths)["/v1/kv/pins"]["post"] = WithBody(
      Operation("Keeps the cached prefix of a prompt.", JsonContent(Ref("Prefix")), "admin", true),
      prefix);
  (*paths)["/v1/kv/pins/{id}"]["delete"] =
      WithPathId(Operation("Takes back a pin.", JsonContent(AnyObject()), "admin", false), "id");
}

}  // namespace

Json DescribeApi(const ApiDescription& api) {
  Json paths;
  paths["/v1/chat/completions"]["post"] =
      WithBody(Operation("The next message of a chat.", StreamOrJson("ChatReply"), "key", true),
               Ref("ChatRequest"));
  paths["/v1/completions"]["post"] =
      WithBody(Operation("How a text goes on.", StreamOrJson("CompletionReply"), "key", true),
               Ref("CompletionRequest"));
  paths["/v1/models"]["get"] =
      Operation("The models.", JsonContent(Ref("ModelList")), "key", false);
  paths["/v1/models/{model}"]["get"] =
      WithPathId(Operation("One model.", JsonContent(Ref("Model")), "key", false), "model");
  AddTextPaths(api, &paths);
  AddCachePaths(api, &paths);
  for (const char* path : {"/health", "/health/live", "/health/ready"}) {
    paths[path]["get"] = Operation("Whether the server lives, or takes requests.",
                                   JsonContent(Ref("Status")), nullptr, false);
  }
  paths["/version"]["get"] =
      Operation("The version that runs.", JsonContent(Ref("Version")), nullptr, false);
  paths["/metrics"]["get"] =
      Operation("Counters for Prometheus.", {{"text/plain", {{"schema", String()}}}}, "key", false);
  paths["/openapi.json"]["get"] =
      Operation("This description.", JsonContent(AnyObject()), nullptr, false);
  return {{"openapi", "3.0.3"},
          {"info",
           {{"title", "Kvasir"},
            {"version", api.version},
            {"description", "Language models on CPUs, over the OpenAI API."}}},
          {"paths", std::move(paths)},
          {"components",
           {{"schemas", Schemas(api)},
            {"securitySchemes",
             {{"key", {{"type", "http"}, {"scheme", "bearer"}}},
              {"admin", {{"type", "http"}, {"scheme", "bearer"}}}}}}}};
}

}  // namespace kvasir
