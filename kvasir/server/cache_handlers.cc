// /v1/kv: what the prefix cache and the disk below it hold, and what an operator may do with it.
// The cache belongs to the engine thread: each handler posts a task there and answers from it.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "kvasir/server/answer_text.h"
#include "kvasir/server/handlers.h"
#include "kvasir/server/openai_params.h"
#include "kvasir/server/request_json.h"

namespace kvasir {

namespace {

constexpr size_t kPrefixCountDefault = 100;
constexpr size_t kPrefixCountMax = 10000;
constexpr size_t kShownTokensMax = 4096;

// Runs `task` on the engine thread with the cache, or answers why not.
void WithCache(const std::shared_ptr<Call>& call,
               std::function<void(const std::shared_ptr<Call>&, PrefixCache&, Engine&)> task) {
  const ServedModel* model = ModelOf(*call);
  if (model == nullptr) return;
  const bool posted = model->loop().Post([call, task = std::move(task)](Engine& engine) {
    PrefixCache* cache = engine.prefix_cache();
    if (cache == nullptr) {
      return call->Fail(UnsupportedError("", "the prefix cache is switched off"));
    }
    task(call, *cache, engine);
  });
  if (!posted) call->Fail(DrainingError());
}

Json DescribePrefix(const CachedPrefix& prefix) {
  return {{"id", prefix.id},
          {"salt", prefix.salt},
          {"token_count", prefix.token_count},
          {"pinned", prefix.pinned}};
}

// The beginning that a body names: tokens, prompt or messages, and whose.
struct NamedPrefix {
  std::vector<TokenId> tokens;
  std::string salt;
};

// False after answering what is wrong.
bool ReadNamedPrefix(Call& call, NamedPrefix* prefix) {
  const ServedModel* model = ModelOf(call);
  Json body;
  if (model == nullptr || !ReadBody(call, &body)) return false;
  ObjectReader reader(body, "");
  reader.ReadString("salt", 2048, &prefix->salt);
  const bool has_tokens = reader.Has("tokens"), has_messages = reader.Has("messages");
  std::string text;
  if (has_tokens) {
    ReadTokenIds(&reader, "tokens", model->tokenizer().vocab_size(), &prefix->tokens);
  } else if (reader.ReadString("prompt", size_t{1} << 30, &text)) {
    prefix->tokens = model->EncodePrompt(text);
  } else if (has_messages) {
    ChatRequest chat;
    ReadMessages(&reader, &chat.messages);
    reader.ReadBool("add_generation_prompt", &chat.add_generation_prompt);
    if (!reader.failed()) {
      const ApiError error = model->RenderChat(chat, nullptr, &prefix->tokens);
      if (error.failed()) reader.Fail(error);
    }
  } else {
    reader.Fail(MissingParameterError("prompt"));
  }
  reader.Ignore({"model", "messages", "prompt", "tokens", "add_generation_prompt"});
  GenerationParams params;
  FinishReading(&reader, LimitsOf(call), &params);
  if (reader.failed()) call.Fail(reader.error());
  return !reader.failed();
}

// A whole number in the query, `otherwise` when absent. False after answering that it is none.
bool ReadQueryCount(Call& call, const char* name, size_t max, size_t* count) {
  const std::string text = QueryValue(call.request().query, name);
  if (text.empty()) return true;
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value <= max) {
    *count = value;
    return true;
  }
  call.Fail(InvalidValueError(
      name, "'" + std::string(name) + "' must be a whole number up to " + std::to_string(max)));
  return false;
}

Json DescribeRam(const PrefixCacheStats& cached, const EngineStats& stats) {
  return {{"tier", "ram"},
          {"block_bytes", cached.block_bytes},
          {"block_count", stats.block_count},
          {"used_block_count", stats.used_block_count},
          {"cached_block_count", stats.cached_block_count},
          {"free_block_count", stats.free_block_count},
          {"findable_block_count", cached.block_count},
          {"pinned_block_count", cached.pinned_block_count},
          {"pinned_block_count_max", cached.pinned_block_count_max},
          {"stored_block_count", cached.stored_block_count},
          {"evicted_block_count", cached.evicted_block_count},
          {"dropped_block_count", cached.dropped_block_count}};
}

Json DescribeDisk(const StoreStats& store, const TierStats& traffic) {
  return {{"tier", "disk"},
          {"state", StoreStateName(store.state)},
          {"state_reason", store.state_reason},
          {"backend", store.backend},
          {"block_count", store.record_count},
          {"pinned_block_count", store.pinned_count},
          {"bytes", store.physical_bytes},
          {"bytes_max", store.cap_bytes},
          {"loading_block_count", traffic.loading_block_count},
          {"loaded_block_count", traffic.loaded_block_count},
          {"stored_block_count", traffic.stored_block_count},
          {"waiting_block_count", traffic.backlog_block_count},
          {"corrupt_block_count", store.corrupt_count},
          {"evicted_block_count", store.evicted_count},
          {"loading_suspended", traffic.loading_suspended},
          {"storing_suspended", traffic.storing_suspended}};
}

// Why a prompt is not cached any further, for people.
Json DescribeMiss(const MissReason& miss) {
  switch (miss.kind) {
    case MissReason::Kind::kNone:
      return nullptr;
    case MissReason::Kind::kToken:
      return {{"reason", "token_differs"},
              {"token_index", miss.token_index},
              {"token", miss.token},
              {"cached_token", miss.cached_token}};
    case MissReason::Kind::kSalt:
      return {{"reason", "other_salt"}, {"cached_tokens", miss.other_salt_token_count}};
    case MissReason::Kind::kEnd:
      return {{"reason", "never_computed_or_evicted"}};
  }
  return nullptr;
}

// Erases records of the store as well, and answers with how much is gone from both.
void DropAndRespond(const std::shared_ptr<Call>& call, TierManager* tiers, size_t dropped_count,
                    std::function<void(BlockStore&, BlockStore::EraseDone)> erase) {
  if (tiers == nullptr) return call->RespondJson({{"dropped_block_count", dropped_count}});
  tiers->ForgetStored();
  erase(tiers->store(), [call, dropped_count](const Result<size_t>& erased) {
    if (!erased.ok()) {
      call->context().log.Write("erase",
                                {{"id", call->id()}, {"message", erased.status().message()}});
      return call->Fail(InternalError(call->id()));
    }
    call->RespondJson({{"dropped_block_count", dropped_count}, {"erased_record_count", *erased}});
  });
}

ApiError NoSuchPrefix() {
  ApiError error = PathNotFoundError("");
  error.message = "no cached prefix has this id";
  return error;
}

}  // namespace

void HandleCacheStats(std::shared_ptr<Call> call) {
  WithCache(call, [](const std::shared_ptr<Call>& call, PrefixCache& cache, Engine& engine) {
    const EngineStats stats = engine.stats();
    Json tiers = Json::array({DescribeRam(cache.stats(), stats)});
    if (engine.tiers() != nullptr) {
      tiers.push_back(DescribeDisk(engine.tiers()->store().stats(), stats.tier));
    }
    call->RespondJson({{"tiers", std::move(tiers)},
                       {"prompt_tokens_computed", stats.prompt_token_count},
                       {"prompt_tokens_cached", stats.cached_token_count},
                       {"prompt_tokens_cached_on_disk", stats.loaded_token_count},
                       {"fingerprint", ToHex(cache.fingerprint())}});
  });
}

void HandleCacheLookup(std::shared_ptr<Call> call) {
  NamedPrefix prefix;
  if (!ReadNamedPrefix(*call, &prefix)) return;
  WithCache(call, [prefix = std::move(prefix)](const std::shared_ptr<Call>& call,
                                               PrefixCache& cache, Engine& engine) {
    const CachedPrefix found = cache.Lookup(prefix.tokens, prefix.salt);
    Json reply = DescribePrefix(found);
    reply["prompt_tokens"] = prefix.tokens.size();
    reply["cached_tokens"] = found.token_count;
    reply["miss"] = DescribeMiss(cache.ExplainMiss(prefix.tokens, prefix.salt));
    if (engine.tiers() == nullptr) return call->RespondJson(reply);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    engine.tiers()->store().Lookup(cache.Keys(prefix.tokens, prefix.salt), deadline,
                                   [call, reply = std::move(reply)](const Result<size_t>& count) {
                                     Json whole = reply;
                                     whole["tokens_on_disk"] =
                                         count.ok() ? *count * kKvBlockTokens : 0;
                                     call->RespondJson(whole);
                                   });
  });
}

void HandleCacheWarm(std::shared_ptr<Call> call) {
  NamedPrefix prefix;
  if (!ReadNamedPrefix(*call, &prefix)) return;
  WithCache(call, [prefix = std::move(prefix)](const std::shared_ptr<Call>& call,
                                               PrefixCache& cache, Engine& engine) {
    if (engine.tiers() == nullptr) {
      return call->Fail(UnsupportedError("", "there is no disk to warm the cache from"));
    }
    const CachedPrefix found = cache.Lookup(prefix.tokens, prefix.salt);
    const std::vector<BlockKey> keys = cache.Keys(prefix.tokens, prefix.salt);
    const size_t known = found.token_count / kKvBlockTokens;
    const WantedBlocks wanted = {
        .salt = prefix.salt,
        .parent = known == 0 ? kNoBlock : cache.index().Find(keys[known - 1]),
        .token_start = found.token_count,
        .keys = std::span(keys).subspan(known),
        .tokens = std::span(prefix.tokens).subspan(found.token_count)};
    const size_t count = engine.tiers()->Warm(wanted, std::chrono::steady_clock::now());
    call->RespondJson({{"prompt_tokens", prefix.tokens.size()},
                       {"cached_tokens", found.token_count},
                       {"loading_tokens", count * kKvBlockTokens}});
  });
}

void HandleCacheList(std::shared_ptr<Call> call) {
  size_t count_max = kPrefixCountDefault, token_count = 0;
  if (!ReadQueryCount(*call, "limit", kPrefixCountMax, &count_max)) return;
  if (!ReadQueryCount(*call, "tokens", kShownTokensMax, &token_count)) return;
  WithCache(call, [=](const std::shared_ptr<Call>& call, PrefixCache& cache, Engine&) {
    const Tokenizer& tokenizer = call->context().model.load()->tokenizer();
    Json data = Json::array();
    for (const CachedPrefix& prefix : cache.List(count_max, token_count)) {
      Json entry = DescribePrefix(prefix);
      // Only for those who ask: it is what users said.
      if (token_count > 0) entry["text"] = ReplaceIllFormed(tokenizer.Decode(prefix.tokens));
      data.push_back(std::move(entry));
    }
    call->RespondJson({{"object", "list"}, {"data", std::move(data)}});
  });
}

void HandleCachePin(std::shared_ptr<Call> call) {
  NamedPrefix prefix;
  if (!ReadNamedPrefix(*call, &prefix)) return;
  WithCache(call, [prefix = std::move(prefix)](const std::shared_ptr<Call>& call,
                                               PrefixCache& cache, Engine& engine) {
    const Result<CachedPrefix> pinned = cache.Pin(prefix.tokens, prefix.salt);
    if (pinned.ok()) {
      // What is not stored yet will be stored as pinned.
      if (engine.tiers() != nullptr) {
        for (const BlockKey& key : cache.KeysOfPrefix(pinned->id)) {
          engine.tiers()->store().SetPinned(key, true);
        }
      }
      return call->RespondJson(DescribePrefix(*pinned));
    }
    ApiError error = NoSuchPrefix();
    if (pinned.status().code() == StatusCode::kResourceExhausted) {
      error = InvalidValueError("", pinned.status().message());
    }
    error.message = pinned.status().message();
    call->Fail(error);
  });
}

void HandleCacheUnpin(std::shared_ptr<Call> call) {
  const std::string id = PathTail(*call, "/v1/kv/pins/");
  WithCache(call, [id](const std::shared_ptr<Call>& call, PrefixCache& cache, Engine& engine) {
    if (!cache.Unpin(id)) return call->Fail(NoSuchPrefix());
    if (engine.tiers() != nullptr) {
      // Others may share its first blocks and be pinned still.
      for (const BlockKey& key : cache.KeysOfPrefix(id)) {
        if (!cache.index().IsPinned(cache.index().Find(key))) {
          engine.tiers()->store().SetPinned(key, false);
        }
      }
    }
    call->RespondJson({{"id", id}, {"pinned", false}});
  });
}

void HandleCacheDrop(std::shared_ptr<Call> call) {
  const std::string id = PathTail(*call, "/v1/kv/prefixes/");
  WithCache(call, [id](const std::shared_ptr<Call>& call, PrefixCache& cache, Engine& engine) {
    const std::vector<BlockKey> keys = cache.KeysBehind(id);
    const size_t dropped = cache.Drop(id);
    if (dropped == 0) return call->Fail(NoSuchPrefix());
    DropAndRespond(
        call, engine.tiers(), dropped,
        [&](BlockStore& store, BlockStore::EraseDone done) { store.Erase(keys, std::move(done)); });
  });
}

void HandleCacheDropAll(std::shared_ptr<Call> call) {
  const std::string& query = call->request().query;
  const bool one_salt = query.starts_with("salt=") || query.find("&salt=") != std::string::npos;
  const std::string salt = QueryValue(query, "salt");
  WithCache(call, [=](const std::shared_ptr<Call>& call, PrefixCache& cache, Engine& engine) {
    const size_t dropped = one_salt ? cache.DropSalt(salt) : cache.DropAll();
    DropAndRespond(call, engine.tiers(), dropped,
                   [&](BlockStore& store, BlockStore::EraseDone done) {
                     if (one_salt) return store.EraseTenant(TenantTag(salt), std::move(done));
                     std::vector<Digest> keys;
                     store.ForEach([&](const RecordInfo& record) {
                       keys.push_back(record.key);
                       return true;
                     });
                     store.Erase(std::move(keys), std::move(done));
                   });
  });
}

}  // namespace kvasir
