#include "kvasir/server/handlers.h"

#include <utility>

#include "kvasir/server/request_json.h"

namespace kvasir {

ServedModel* ModelOf(Call& call) {
  ServedModel* model = call.context().model;
  if (model == nullptr) call.Fail(LoadingError());
  return model;
}

bool ReadBody(Call& call, Json* body) {
  const std::string_view type = call.request().Header("content-type");
  // Parameters behind a semicolon do not matter: JSON is UTF-8.
  const std::string media(type.substr(0, type.find(';')));
  const auto is_media = [&](std::string_view wanted) {
    std::string lower = media;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    while (!lower.empty() && lower.back() == ' ') lower.pop_back();
    return lower == wanted;
  };
  if (!is_media("application/json")) {
    call.Fail(MediaTypeError(media));
    return false;
  }
  const ApiError error = ParseRequestJson(call.request().body, body);
  if (error.failed()) call.Fail(error);
  return !error.failed();
}

ApiLimits LimitsOf(const Call& call) {
  const ServerOptions& options = call.context().options;
  ApiLimits limits;
  if (const ServedModel* model = call.context().model; model != nullptr) {
    limits.vocab_size = model->tokenizer().vocab_size();
  }
  limits.choice_count_max = options.choice_count_max;
  limits.timeout_ms_max = options.timeout_ms_max;
  limits.strict = options.strict;
  return limits;
}

void NoteUnknownMembers(Call& call, const std::vector<std::string>& names) {
  if (names.empty()) return;
  constexpr size_t kNamesMax = 8;
  Json listed = Json::array();
  for (size_t i = 0; i < names.size() && i < kNamesMax; ++i)
    listed.push_back(names[i].substr(0, 64));
  for (size_t i = 0; i < names.size(); ++i) call.context().metrics.CountUnknownMember();
  call.context().log.Write("ignored_members", {{"id", call.id()}, {"names", std::move(listed)}});
}

std::string QueryValue(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
    return PercentDecode(pair.substr(equals + 1));
  }
  return {};
}

std::string PathTail(const Call& call, std::string_view prefix) {
  return call.request().path.substr(std::min(prefix.size(), call.request().path.size()));
}

}  // namespace kvasir
