#include "kvasir/kv/block_loader.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

// Blocks of one Get: enough to keep a device busy, few enough that the first ones come early.
constexpr size_t kBatchBlockCount = 16;
// While loading does not pay, or the store is suspended, a block is read now and then beside the
// computing, so that a change is noticed.
constexpr double kProbeSeconds = 5;
// Those probes, and what Warm loads, may take longer than somebody would wait.
constexpr double kBackgroundPatienceSeconds = 2;
// A store whose index is elsewhere has so long to say what it has.
constexpr double kLookupPatienceSeconds = 0.25;

BlockLoader::Time After(BlockLoader::Time time, double seconds) {
  return time + std::chrono::duration_cast<BlockLoader::Time::duration>(
                    std::chrono::duration<double>(seconds));
}

double SecondsBetween(BlockLoader::Time from, BlockLoader::Time to) {
  return std::chrono::duration<double>(to - from).count();
}

bool IsFailureOfDevice(StatusCode code) {
  return code == StatusCode::kUnavailable || code == StatusCode::kIoError ||
         code == StatusCode::kDeadlineExceeded;
}

}  // namespace

Digest TenantTag(std::string_view salt) {
  Sha256 hash;
  hash.Update("kvasir tenant");
  hash.Update(salt);
  return hash.Finish();
}

// Kept alive by the callbacks that the store has, too: they fill its slots and read its tokens.
struct BlockLoader::ActiveLoad {
  LoadId id = kNoLoad;
  std::string salt;
  Digest tenant;
  BlockId parent = kNoBlock;
  uint64_t token_start = 0;
  std::vector<BlockKey> keys;  // the parent's, then those of the blocks
  std::vector<TokenId> tokens;
  ComputeSeconds compute_seconds;

  size_t waiter_count = 0;
  bool background = false;  // nobody has ever waited for it
  bool probes = false;      // one block, to see how the store is
  bool tries = false;       // let through by an open breaker
  bool found = false;       // the lookup has been answered
  bool ended = false;
  size_t block_count = 0;      // to be loaded
  std::vector<Slot> slots;     // [blocks asked for]
  size_t published_count = 0;  // leading ones
  size_t arrived_count = 0;
  size_t in_flight_count = 0;
  std::vector<StoreOperation> operations;
  LoadAnswer answer = {.patience_seconds = kLookupPatienceSeconds};
  Time start = {}, first = {}, last = {};

  size_t wanted_count() const { return keys.size() - 1; }
};

BlockLoader::BlockLoader(PrefixCache& cache, std::shared_ptr<BlockPool> pool, BlockStore& store,
                         std::shared_ptr<StoreMailbox> mailbox, size_t window_block_count)
    : cache_(cache),
      pool_(std::move(pool)),
      store_(store),
      mailbox_(std::move(mailbox)),
      window_block_count_(window_block_count),
      block_bytes_(pool_->layout().block_bytes()),
      fresh_(pool_->block_count(), 0),
      cost_(block_bytes_) {}

std::shared_ptr<BlockLoader::ActiveLoad> BlockLoader::NewLoad(const WantedBlocks& wanted,
                                                              Time now) {
  auto load = std::make_shared<ActiveLoad>();
  load->id = next_id_++;
  load->salt = wanted.salt;
  load->tenant = TenantTag(wanted.salt);
  load->parent = wanted.parent;
  load->token_start = wanted.token_start;
  load->keys.push_back(wanted.parent == kNoBlock ? RootKey(cache_.fingerprint(), wanted.salt)
                                                 : cache_.index().entry(wanted.parent).key);
  load->keys.insert(load->keys.end(), wanted.keys.begin(), wanted.keys.end());
  const auto tokens = wanted.tokens.first(wanted.keys.size() * kKvBlockTokens);
  load->tokens.assign(tokens.begin(), tokens.end());
  load->start = load->last = now;
  loads_.emplace(load->id, load);
  return load;
}

void BlockLoader::LookUp(ActiveLoad& load, Time now) {
  store_.Lookup(std::vector(load.keys.begin() + 1, load.keys.end()),
                After(now, kLookupPatienceSeconds),
                [mailbox = mailbox_, id = load.id](const Result<size_t>& count) {
                  mailbox->Post({.kind = StoreReply::Kind::kFound,
                                 .ticket = id,
                                 .number = count.ok() ? *count : 0,
                                 .status = count.status()});
                });
  if (const auto reply = mailbox_->TakeFound(load.id)) Take(*reply);
}

BlockLoader::Ticket BlockLoader::Load(const WantedBlocks& wanted, ComputeSeconds compute_seconds,
                                      Time now) {
  if (wanted.keys.empty()) return {};
  if (const auto joined = loading_keys_.find(wanted.keys[0]); joined != loading_keys_.end()) {
    ActiveLoad& load = *loads_.at(joined->second);
    if (load.background) return {};
    ++load.waiter_count;
    return {load.id, /*joined=*/true};
  }
  const CircuitBreaker::Answer passes = breaker_.Ask(now);
  if (passes == CircuitBreaker::Answer::kRefuse) {
    ++counts_.refused_load_count;
    return {};
  }
  const std::shared_ptr<ActiveLoad> load = NewLoad(wanted, now);
  load->compute_seconds = std::move(compute_seconds);
  load->tries = passes == CircuitBreaker::Answer::kTry;
  load->probes = load->background = load->tries;
  load->waiter_count = load->background ? 0 : 1;
  LookUp(*load, now);
  if (load->found) AskFor(load, now);
  const LoadId id = load->ended || load->background ? kNoLoad : load->id;
  LetGo(*load);
  return {id};
}

size_t BlockLoader::Warm(const WantedBlocks& wanted, Time now) {
  if (wanted.keys.empty() || loading_keys_.contains(wanted.keys[0])) return 0;
  if (breaker_.open()) return 0;
  const std::shared_ptr<ActiveLoad> load = NewLoad(wanted, now);
  load->background = true;
  LookUp(*load, now);
  if (!load->found) End(*load, now);
  const size_t block_count = load->ended ? 0 : load->block_count;
  AskFor(load, now);
  LetGo(*load);
  return block_count;
}

bool BlockLoader::IsLoading(LoadId id) const {
  const auto load = loads_.find(id);
  return load != loads_.end() && !load->second->ended;
}

void BlockLoader::Abandon(LoadId id, Time now) {
  const auto found = loads_.find(id);
  if (found == loads_.end()) return;
  ActiveLoad& load = *found->second;
  if (load.waiter_count == 0 || --load.waiter_count > 0) return;
  End(load, now);
  LetGo(load);
}

void BlockLoader::Take(const StoreReply& reply) {
  const auto found = loads_.find(reply.ticket);
  if (reply.kind == StoreReply::Kind::kLoaded) CountReply(reply);
  if (found == loads_.end()) return;
  ActiveLoad& load = *found->second;
  if (reply.kind == StoreReply::Kind::kFound) {
    if (reply.status.ok()) {
      Found(load, reply.number, reply.time);
    } else {
      Found(load, reply.status, reply.time);
    }
    return;
  }
  Slot& slot = load.slots[reply.number];
  --load.in_flight_count;
  if (reply.status.ok()) {
    slot.state = Slot::State::kArrived;
    if (load.arrived_count++ == 0) load.first = reply.time;
    load.last = std::max(load.last, reply.time);
    breaker_.Succeeded();
    load.tries = false;
    return;
  }
  slot.state = Slot::State::kGone;
  --slot_count_;
  pool_->Release(slot.block);
  TakeFailure(load, reply.status, reply.time);
}

void BlockLoader::CountReply(const StoreReply& reply) {
  --in_flight_count_;
  if (reply.status.ok()) {
    if (burst_block_count_++ == 0) burst_first_ = reply.time;
    burst_last_ = reply.time;
  }
  if (in_flight_count_ == 0) CloseBurst();
}

void BlockLoader::CloseBurst() {
  if (burst_block_count_ > 0) {
    cost_.Observe({.block_count = burst_block_count_,
                   .first_seconds = SecondsBetween(burst_start_, burst_first_),
                   .seconds = SecondsBetween(burst_start_, burst_last_)});
    last_observed_ = burst_last_;
  }
  burst_block_count_ = 0;
}

void BlockLoader::Found(ActiveLoad& load, const Result<size_t>& count, Time now) {
  if (load.ended || load.found) return;
  load.found = true;
  load.last = now;
  if (!count.ok()) {
    ++counts_.failed_load_count;
    breaker_.Failed(now);
    load.tries = false;
    return End(load, now);
  }
  load.block_count = std::min(*count, load.wanted_count());
  counts_.unknown_block_count += load.wanted_count() - load.block_count;
  if (load.block_count == 0) return End(load, now);
  if (!load.background) {
    load.answer = DecideLoad({.block_count = load.block_count,
                              .blocks_ahead = in_flight_count_,
                              .compute_seconds = load.compute_seconds(load.block_count)},
                             cost_);
    if (!load.answer.load) {
      ++counts_.declined_load_count;
      if (SecondsBetween(last_observed_, now) < kProbeSeconds) return End(load, now);
      load.probes = load.background = true;
      load.waiter_count = 0;
    }
  }
  if (load.background) load.answer.patience_seconds = kBackgroundPatienceSeconds;
  if (load.probes) load.block_count = 1;
  counts_.load_count += !load.background;
  for (size_t i = 0; i < load.block_count; ++i) loading_keys_.emplace(load.keys[i + 1], load.id);
}

void BlockLoader::AskFor(const std::shared_ptr<ActiveLoad>& load, Time now) {
  while (!load->ended && load->slots.size() < load->block_count) {
    const size_t available = pool_->available_count();
    const size_t first = load->slots.size();
    const size_t count = std::min({kBatchBlockCount, load->block_count - first,
                                   window_block_count_ - std::min(window_block_count_, slot_count_),
                                   available - std::min(available, reserved_block_count_)});
    // Without a slot, or with a few while more are on their way: later.
    if (count == 0 || (count < kBatchBlockCount && count < load->block_count - first &&
                       load->in_flight_count > 0)) {
      break;
    }
    std::vector<GetItem> items;
    for (size_t i = first; i < first + count; ++i) {
      const BlockId block = pool_->Allocate().value();
      load->slots.push_back({.block = block});
      items.push_back(
          {.identity = {.fingerprint = cache_.fingerprint(),
                        .key = load->keys[i + 1],
                        .parent = load->keys[i],
                        .tenant = load->tenant,
                        .token_start = load->token_start + i * kKvBlockTokens,
                        .tokens =
                            std::span(load->tokens).subspan(i * kKvBlockTokens, kKvBlockTokens)},
           .payload = {pool_->base() + size_t(block) * block_bytes_, block_bytes_}});
    }
    if (in_flight_count_ == 0) burst_start_ = now;
    slot_count_ += count;
    in_flight_count_ += count;
    load->in_flight_count += count;
    // The callback keeps what the store reads and writes.
    const auto done = [mailbox = mailbox_, pool = pool_, load, first](size_t index,
                                                                      const Status& status) {
      mailbox->Post({.kind = StoreReply::Kind::kLoaded,
                     .ticket = load->id,
                     .number = first + index,
                     .status = status});
    };
    const double patience = std::max(load->answer.compute_seconds, load->answer.patience_seconds);
    last_observed_ = now;
    load->operations.push_back(store_.Get(std::move(items), After(now, patience), done));
  }
  // Nothing can come any more: what came is all there is memory for.
  if (!load->ended && load->found && load->in_flight_count == 0 &&
      load->published_count == load->slots.size() && load->slots.size() < load->block_count) {
    End(*load, now);
  }
}

void BlockLoader::Publish(ActiveLoad& load) {
  PrefixIndex& index = cache_.index();
  while (load.published_count < load.slots.size() &&
         load.slots[load.published_count].state == Slot::State::kArrived) {
    const size_t i = load.published_count;
    const bool behind_parent =
        load.parent == kNoBlock ||
        (index.Knows(load.parent) && index.entry(load.parent).key == load.keys[i]);
    // The chain has lost a block meanwhile: what follows it cannot be found.
    if (!behind_parent) return End(load, load.last);
    Slot& slot = load.slots[i];
    BlockId known = slot.block;
    const auto published = index.Publish(
        load.salt, load.parent, load.keys[i + 1],
        std::span(load.tokens).subspan(i * kKvBlockTokens, kKvBlockTokens), slot.block, &known);
    if (published == PrefixIndex::Published::kOrphan) return End(load, load.last);
    if (published == PrefixIndex::Published::kStored) {
      fresh_[size_t(slot.block)] = pool_->allocation_counts()[size_t(slot.block)];
      ++counts_.loaded_block_count;
      counts_.loaded_bytes += block_bytes_;
    }
    load.parent = known;
    slot.state = Slot::State::kGone;
    --slot_count_;
    pool_->Release(slot.block);
    ++load.published_count;
  }
  if (load.published_count == load.block_count && load.found && !load.ended) End(load, load.last);
}

void BlockLoader::Judge(ActiveLoad& load, Time now) {
  if (load.ended) return;
  const double silence = SecondsBetween(load.last, now);
  const bool waits =
      load.background ? silence <= load.answer.patience_seconds
                      : KeepWaiting({.block_count = load.block_count,
                                     .arrived_count = load.arrived_count,
                                     .seconds = SecondsBetween(load.start, now),
                                     .seconds_since_first = SecondsBetween(load.first, load.last),
                                     .seconds_since_last = silence},
                                    load.answer);
  if (waits) return;
  counts_.given_up_load_count += !load.background;
  if (silence > load.answer.patience_seconds) {
    cost_.ObserveSilence(silence);
    breaker_.Failed(now);
    load.tries = false;
  } else {
    CloseBurst();
    burst_start_ = now;
  }
  End(load, now);
}

void BlockLoader::TakeFailure(ActiveLoad& load, const Status& status, Time now) {
  counts_.corrupt_block_count += status.code() == StatusCode::kDataLoss;
  if (load.ended) return;  // the rest of what ended it
  counts_.vanished_block_count += status.code() == StatusCode::kNotFound;
  if (IsFailureOfDevice(status.code())) {
    ++counts_.failed_load_count;
    breaker_.Failed(now);
    load.tries = false;
  }
  End(load, now);
}

void BlockLoader::End(ActiveLoad& load, Time now) {
  if (std::exchange(load.ended, true)) return;
  if (load.tries) breaker_.Withdrawn();
  for (const StoreOperation operation : load.operations) {
    if (load.in_flight_count > 0) store_.Cancel(operation);
  }
  for (size_t i = 0; i < load.block_count; ++i) {
    const auto key = loading_keys_.find(load.keys[i + 1]);
    if (key != loading_keys_.end() && key->second == load.id) loading_keys_.erase(key);
  }
  if (load.background || load.block_count == 0 || load.slots.empty()) return;
  const double seconds = SecondsBetween(load.start, now);
  counts_.load_seconds.Observe(seconds);
  counts_.saved_seconds +=
      load.answer.compute_seconds * double(load.published_count) / double(load.block_count) -
      seconds;
}

void BlockLoader::LetGo(ActiveLoad& load) {
  if (!load.ended || load.in_flight_count > 0) return;
  for (const Slot& slot : load.slots) {
    if (slot.state != Slot::State::kArrived) continue;
    --slot_count_;
    pool_->Release(slot.block);
  }
  loads_.erase(load.id);  // the end of `load`
}

void BlockLoader::Collect(Time now) {
  for (auto next = loads_.begin(); next != loads_.end();) {
    const std::shared_ptr<ActiveLoad> load = (next++)->second;
    Publish(*load);
    Judge(*load, now);
    LetGo(*load);
  }
}

void BlockLoader::Ask(Time now, size_t reserved_block_count) {
  reserved_block_count_ = reserved_block_count;
  for (auto next = loads_.begin(); next != loads_.end();) {
    const std::shared_ptr<ActiveLoad> load = (next++)->second;
    if (load->found) AskFor(load, now);
    LetGo(*load);
  }
}

std::optional<BlockLoader::Time> BlockLoader::NextJudgement() const {
  std::optional<Time> next;
  for (const auto& [id, load] : loads_) {
    if (load->ended) continue;
    Time time = After(load->last, load->answer.patience_seconds);
    if (!load->background && load->found) {
      const double most = std::max(load->answer.compute_seconds, load->answer.patience_seconds);
      time = std::min(time, After(load->start, most));
    }
    next = std::min(next.value_or(time), time);
  }
  // A moment later, so that it is over then.
  if (next) *next += std::chrono::milliseconds(1);
  return next;
}

bool BlockLoader::TakeFresh(BlockId block) {
  const uint64_t allocation = pool_->allocation_counts()[size_t(block)];
  return std::exchange(fresh_[size_t(block)], 0) == allocation;
}

void BlockLoader::CancelAll(Time now) {
  for (auto next = loads_.begin(); next != loads_.end();) {
    const std::shared_ptr<ActiveLoad> load = (next++)->second;
    End(*load, now);
    LetGo(*load);
  }
}

void BlockLoader::FillStats(TierStats* stats) const {
  *stats = counts_;
  stats->loading_block_count = slot_count_;
  stats->loading_suspended = breaker_.open();
  stats->latency_seconds = cost_.latency_seconds();
  stats->block_seconds = cost_.block_seconds();
}

}  // namespace kvasir
