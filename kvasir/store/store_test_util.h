// Records for tests of stores: identities and payloads that follow from a number, and calls that
// wait for their items. One thread at a time, except where a store calls back.

#ifndef KVASIR_STORE_STORE_TEST_UTIL_H_
#define KVASIR_STORE_STORE_TEST_UTIL_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/hash.h"
#include "kvasir/store/block_store.h"

namespace kvasir {

inline Digest DigestOf(const std::string& text) {
  Sha256 hash;
  hash.Update(text);
  return hash.Finish();
}

// A generator with known numbers on every machine (splitmix64).
struct TestRandom {
  uint64_t state = 0;
  uint64_t operator()() {
    uint64_t z = (state += 0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) { return (*this)() % bound; }
};

// Block `index` of chain `chain` of a tenant, with its bytes. Everything follows from the
// constructor's arguments; the payload is at a page.
class TestBlock {
 public:
  explicit TestBlock(uint64_t index, size_t payload_bytes = 8192, const std::string& tenant = "t",
                     const std::string& chain = "c")
      : payload_(std::move(AlignedBuffer::Allocate(payload_bytes).value())) {
    const std::string name = tenant + "/" + chain + "/";
    identity_.fingerprint = DigestOf("model");
    identity_.key = DigestOf(name + std::to_string(index));
    identity_.parent = DigestOf(index == 0 ? name : name + std::to_string(index - 1));
    identity_.tenant = DigestOf("tenant " + tenant);
    identity_.token_start = 32 * index;
    uint64_t seed;
    std::memcpy(&seed, identity_.key.bytes.data(), sizeof(seed));
    TestRandom random{seed};
    for (int i = 0; i < 32; ++i) tokens_.push_back(static_cast<int32_t>(random.Below(49152)));
    identity_.tokens = tokens_;
    for (size_t i = 0; i < payload_bytes; ++i) {
      payload_.data()[i] = static_cast<std::byte>(random());
    }
  }

  const Digest& key() const { return identity_.key; }
  const RecordIdentity& identity() const { return identity_; }
  std::span<std::byte> payload() const { return {payload_.data(), payload_.size()}; }

  // Three sections, the last with what is left.
  PutItem Put() const {
    const uint64_t third = payload_.size() / 3;
    return {.identity = identity_,
            .payload = payload(),
            .section_bytes = {third, third, payload_.size() - 2 * third}};
  }

 private:
  RecordIdentity identity_;
  std::vector<int32_t> tokens_;
  AlignedBuffer payload_;
};

// Counts the items of an operation and waits for all of them.
class Waiter {
 public:
  explicit Waiter(size_t item_count) : state_(std::make_shared<State>(item_count)) {}

  StoreDone done() const {
    return [state = state_](size_t index, const Status& status) {
      const std::lock_guard lock(state->mutex);
      state->statuses[index] = status;
      ++state->call_counts[index];
      --state->open_count;
      state->changed.notify_all();
    };
  }

  // Codes in the order of the items. Gives up after a minute, which the counts then show.
  std::vector<Status> Wait() const {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait_for(lock, std::chrono::minutes(1),
                             [&] { return state_->open_count <= 0; });
    return state_->statuses;
  }
  bool over() const {
    const std::lock_guard lock(state_->mutex);
    return state_->open_count <= 0;
  }
  // How often each item was said to be done.
  std::vector<int> call_counts() const {
    const std::lock_guard lock(state_->mutex);
    return state_->call_counts;
  }

 private:
  struct State {
    explicit State(size_t item_count)
        : open_count(static_cast<int64_t>(item_count)),
          statuses(item_count, Status(StatusCode::kUnimplemented, "not done")),
          call_counts(item_count) {}
    std::mutex mutex;
    std::condition_variable changed;
    int64_t open_count;
    std::vector<Status> statuses;
    std::vector<int> call_counts;
  };
  std::shared_ptr<State> state_;
};

inline Status PutBlock(BlockStore& store, const TestBlock& block,
                       StoreDeadline deadline = kNoDeadline) {
  const Waiter waiter(1);
  store.Put({block.Put()}, deadline, waiter.done());
  return waiter.Wait()[0];
}

// kInvalidArgument when the store says ok to other bytes than the block's: that must never be.
inline Status GetBlock(BlockStore& store, const TestBlock& block,
                       StoreDeadline deadline = kNoDeadline) {
  AlignedBuffer buffer = std::move(AlignedBuffer::Allocate(block.payload().size()).value());
  const std::span<std::byte> payload(buffer.data(), buffer.size());
  const Waiter waiter(1);
  store.Get({{block.identity(), payload}}, deadline, waiter.done());
  const Status status = waiter.Wait()[0];
  if (!status.ok()) return status;
  const bool same = std::equal(payload.begin(), payload.end(), block.payload().begin());
  return same ? status : Status(StatusCode::kInvalidArgument, "ok, but with wrong bytes");
}

inline size_t LeadingCount(BlockStore& store, std::vector<Digest> keys) {
  size_t count = 0;
  store.Lookup(std::move(keys), kNoDeadline,
               [&](const Result<size_t>& leading_count) { count = leading_count.value(); });
  return count;
}

}  // namespace kvasir

#endif  // KVASIR_STORE_STORE_TEST_UTIL_H_
