// What tools do with a disk store that no server needs: checking every byte, and moving records
// between stores as a file, which is records one behind the other as record_format.h draws them.
// Functions that wait for the device, for one thread.

#ifndef KVASIR_STORE_STORE_TOOLS_H_
#define KVASIR_STORE_STORE_TOOLS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/hash.h"
#include "kvasir/base/status.h"
#include "kvasir/store/disk_store.h"

namespace kvasir {

struct BadRecord {
  Digest key;
  std::string reason;
};

struct VerifyReport {
  uint64_t good_count = 0;
  uint64_t byte_count = 0;  // of good records
  std::vector<BadRecord> bad;
  DiskStore::Recovery recovery;

  bool clean() const {
    return bad.empty() && recovery.dropped_count == 0 && recovery.foreign_count == 0;
  }
};

// Reads and checks every record.
Result<VerifyReport> VerifyStore(const DiskStore& store);

// A record and its stored payload, checked but for the identity.
struct CheckedRecord {
  RecordHeader header;
  std::vector<std::byte> bytes;
  std::span<const std::byte> stored;  // in bytes
};
Result<CheckedRecord> ReadChecked(const DiskStore& store, const Digest& key);

// Writes all records, or those of a tenant, into a new file; bad ones are left out. Returns how
// many there are in it.
Result<uint64_t> ExportRecords(const DiskStore& store, const Digest* tenant,
                               const std::string& path);

struct ImportReport {
  uint64_t stored_count = 0;  // or known before
  uint64_t expired_count = 0;
};
// Puts the records of such a file. kDataLoss names the place of the first that is bad,
// kInvalidArgument a file that is none; what came before it has been stored.
Result<ImportReport> ImportRecords(DiskStore& store, const std::string& path, int64_t now_unix_ms);

// The key whose hexadecimal digits begin with `prefix`. kNotFound when there is none,
// kInvalidArgument when it is no beginning of a key, or of several.
Result<Digest> FindKey(const BlockStore& store, std::string_view prefix);
// 64 hexadecimal digits.
Result<Digest> ParseDigest(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_STORE_STORE_TOOLS_H_
