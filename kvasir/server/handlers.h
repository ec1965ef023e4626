// The handlers: one function for each route of routes.cc. Each answers its call, now or later, from
// any thread. They run on worker threads and may take a while, but do not wait for the engine.

#ifndef KVASIR_SERVER_HANDLERS_H_
#define KVASIR_SERVER_HANDLERS_H_

#include <memory>

#include "kvasir/server/call.h"

namespace kvasir {

using Handler = void (*)(std::shared_ptr<Call> call);

// generation_handlers.cc
void HandleChatCompletions(std::shared_ptr<Call> call);
void HandleCompletions(std::shared_ptr<Call> call);

// text_handlers.cc
void HandleTokenize(std::shared_ptr<Call> call);
void HandleDetokenize(std::shared_ptr<Call> call);
void HandleApplyTemplate(std::shared_ptr<Call> call);

// info_handlers.cc
void HandleLive(std::shared_ptr<Call> call);
void HandleReady(std::shared_ptr<Call> call);
void HandleModels(std::shared_ptr<Call> call);
void HandleModel(std::shared_ptr<Call> call);  // /v1/models/{id}, ids may hold slashes
void HandleMetrics(std::shared_ptr<Call> call);
void HandleVersion(std::shared_ptr<Call> call);
void HandleOpenApi(std::shared_ptr<Call> call);

// cache_handlers.cc
void HandleCacheStats(std::shared_ptr<Call> call);
void HandleCacheLookup(std::shared_ptr<Call> call);
void HandleCacheWarm(std::shared_ptr<Call> call);
void HandleCacheList(std::shared_ptr<Call> call);
void HandleCachePin(std::shared_ptr<Call> call);
void HandleCacheUnpin(std::shared_ptr<Call> call);    // /v1/kv/pins/{id}
void HandleCacheDrop(std::shared_ptr<Call> call);     // /v1/kv/prefixes/{id}
void HandleCacheDropAll(std::shared_ptr<Call> call);  // ?salt= limits it

// What handlers share.

// The model, or null after answering that it is not there yet.
ServedModel* ModelOf(Call& call);
// The body as a JSON object; false after answering what is wrong with it.
bool ReadBody(Call& call, Json* body);
// What requests may ask for.
ApiLimits LimitsOf(const Call& call);
// Counts and logs members that nobody knows.
void NoteUnknownMembers(Call& call, const std::vector<std::string>& names);
// The value of `name` in a query, percent-decoded; empty when absent.
std::string QueryValue(std::string_view query, std::string_view name);
// The part of the path behind `prefix`.
std::string PathTail(const Call& call, std::string_view prefix);

}  // namespace kvasir

#endif  // KVASIR_SERVER_HANDLERS_H_
