// BlockStore: opaque records by key, in batches, asynchronously: what the cache of blocks asks of a
// place where bytes can live. A record is the bytes of one sealed block and the identity that they
// were computed for; the store knows nothing else of it. A store never gives wrong bytes: whatever
// is missing, damaged, of another identity, late or out of reach ends as a Status of that item, and
// the caller computes the block anew.
//
// Any thread may call any method, and none of them waits for a device, except Flush and the
// destructor. Callbacks come on a thread of the store or before the call returns, never under a
// lock of the store: they may call it again, and must be short.

#ifndef KVASIR_STORE_BLOCK_STORE_H_
#define KVASIR_STORE_BLOCK_STORE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kvasir/base/hash.h"
#include "kvasir/base/status.h"
#include "kvasir/store/store_stats.h"

namespace kvasir {

// What a record is of. Get compares all of it with what was stored: any difference is a miss.
struct RecordIdentity {
  Digest fingerprint;        // of what computes: model, formats, numerics
  Digest key;                // the content address of the block
  Digest parent;             // of the block before it; of the first block: the root key
  Digest tenant;             // a tag by which a tenant's records are found; no secret
  uint64_t token_start = 0;  // tokens before the block
  // Of the block. The ids must live until the item is done.
  std::span<const int32_t> tokens;
};

struct PutItem {
  RecordIdentity identity;
  // The bytes of the block. They must neither change nor go before the item is done. At a multiple
  // of 4096 they are written from where they are, otherwise they are copied first.
  std::span<const std::byte> payload;
  // Lengths of the parts of the payload that get a checksum each, e.g. one for each layer; their
  // sum is payload.size(). Copied by Put.
  std::vector<uint64_t> section_bytes;
  int64_t expires_unix_ms = 0;  // 0 = never
  bool pinned = false;          // never evicted, until SetPinned or Erase
};

struct GetItem {
  RecordIdentity identity;
  // As long as the stored payload: another length is a miss. It is the store's until the item is
  // done, and holds arbitrary bytes when it is done with anything but ok. Aligned as in PutItem.
  std::span<std::byte> payload;
};

using StoreDeadline = std::chrono::steady_clock::time_point;
inline constexpr StoreDeadline kNoDeadline = StoreDeadline::max();

using StoreOperation = uint64_t;  // of one Get or Put, for Cancel

// Called exactly once for each item, in any order. Beside ok:
//   kNotFound           Get: there is no such record, or it is of another identity: the message
//                       names the first field or token that differs
//   kDataLoss           Get: the record was there and is bad; it has been dropped
//   kCancelled, kDeadlineExceeded    the item had not begun
//   kUnavailable        the device failed, or the store is out of order for a while
//   kResourceExhausted  Put: there is no room
//   kInvalidArgument    Put: the item breaks a limit of record_format.h
using StoreDone = std::function<void(size_t item_index, const Status& status)>;

// What is known of a record without reading it.
struct RecordInfo {
  Digest key;
  Digest tenant;
  uint64_t token_start = 0;
  uint64_t token_count = 0;
  uint64_t payload_bytes = 0;  // of the block
  uint64_t record_bytes = 0;   // in the store, with header, footer and padding
  int64_t written_unix_ms = 0;
  int64_t used_unix_ms = 0;     // read or touched last; written_unix_ms before that
  int64_t expires_unix_ms = 0;  // 0 = never
  uint64_t use_count = 0;
  bool pinned = false;
};

class BlockStore {
 public:
  // Ends what has not begun with kCancelled, and waits for what has.
  virtual ~BlockStore() = default;

  // Reads records into the callers' buffers and verifies them: checksums, lengths, identity.
  virtual StoreOperation Get(std::vector<GetItem> items, StoreDeadline deadline,
                             StoreDone done) = 0;
  // Writes records. Each becomes visible when it is complete, and not at all when it fails; one
  // whose key is known is ok at once.
  virtual StoreOperation Put(std::vector<PutItem> items, StoreDeadline deadline,
                             StoreDone done) = 0;
  // Items of the operation that have not begun end with kCancelled, the others as if nothing had
  // happened. An operation that is over is no error.
  virtual void Cancel(StoreOperation operation) = 0;

  // How many of the first keys have a record, up to the first that has none. A store whose index is
  // in memory answers before it returns.
  virtual void Lookup(std::vector<Digest> keys, StoreDeadline deadline,
                      std::function<void(const Result<size_t>& leading_count)> done) = 0;

  // Forgets records, pinned ones too; the result counts them. They are gone for Get and Lookup
  // before Erase returns. `done` may be empty.
  using EraseDone = std::function<void(const Result<size_t>& erased_count)>;
  virtual void Erase(std::vector<Digest> keys, EraseDone done) = 0;
  // The same for all records of a tenant, those of earlier Puts that are under way too; before
  // `done` their bytes have been overwritten: nobody can read them back from the store's files.
  virtual void EraseTenant(const Digest& tenant, EraseDone done) = 0;

  // False when there is no such record.
  virtual bool SetPinned(const Digest& key, bool pinned) = 0;
  // Counts as a use of those records that are there: what is hot in the pool stays warm here.
  virtual void Touch(std::span<const Digest> keys) = 0;

  virtual StoreStats stats() const = 0;
  // Calls `visit` with what was there at some moment during the call, the oldest first, until it
  // returns false.
  virtual void ForEach(const std::function<bool(const RecordInfo&)>& visit) const = 0;

  // Waits for the Puts so far and writes down what makes the next start fast.
  virtual Status Flush(StoreDeadline deadline) = 0;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_BLOCK_STORE_H_
