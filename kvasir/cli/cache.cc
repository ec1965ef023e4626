// kvasir cache stat|ls|lookup|verify|pin|unpin|rm|gc|export|import: tools on a directory of cached
// blocks (kvasir/store/disk_store.h).

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/output.h"
#include "kvasir/store/record_reader.h"
#include "kvasir/store/store_tools.h"

namespace kvasir {

namespace {

constexpr const char* kGroupFooter =
    "DIR is the directory that `kvasir serve` keeps blocks in. stat, ls, lookup, verify and "
    "export\n"
    "only read and may run beside a server; the others need the directory for themselves. A KEY "
    "may\n"
    "be the beginning of one.\n"
    "\n"
    "Examples:\n"
    "  kvasir cache stat DIR\n"
    "  kvasir cache ls DIR --limit 20\n"
    "  kvasir cache lookup DIR 3f0c91ab --json\n"
    "  kvasir cache verify DIR && echo clean";

// A tool's cap when none is given: it evicts nothing.
constexpr uint64_t kNoCapBytes = uint64_t{1} << 60;
constexpr uint64_t kToolSegmentBytes = uint64_t{64} << 20;

struct CacheOptions {
  std::optional<std::string> directory;
  std::optional<std::string> key;
  std::optional<std::string> tenant;
  std::optional<std::string> file;
  std::optional<std::string> fingerprint;
  std::optional<std::string> parent;
  std::vector<size_t> tokens;
  size_t limit = SIZE_MAX;
  size_t cap_bytes = kNoCapBytes;
  bool repair = false;
  bool json = false;
};

using Store = std::unique_ptr<DiskStore>;

Result<Store> OpenToRead(const CacheOptions& options) {
  DiskStoreOptions store_options;
  store_options.directory = options.directory.value_or("");
  store_options.read_only = true;
  return DiskStore::Open(store_options);
}

Result<Store> OpenToWrite(const CacheOptions& options) {
  // A tool does not make the directory that it was asked about.
  KVASIR_RETURN_IF_ERROR(OpenToRead(options).status());
  DiskStoreOptions store_options;
  store_options.directory = options.directory.value_or("");
  store_options.cap_bytes = options.cap_bytes;
  store_options.segment_bytes =
      std::min<uint64_t>(kToolSegmentBytes, options.cap_bytes / 16 / 4096 * 4096);
  KVASIR_ASSIGN_OR_RETURN(Store store, DiskStore::Open(store_options));
  const StoreStats stats = store->stats();
  if (stats.state == StoreState::kReady) return store;
  return Unavailable(stats.state_reason + ": this command needs the directory for itself");
}

// "2026-11-24T21:16:38Z", "-" for 0.
std::string TimeText(int64_t unix_ms) {
  if (unix_ms == 0) return "-";
  const std::time_t seconds = unix_ms / 1000;
  std::tm parts;
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Status Print(const std::string& text) {
  Output output;
  output.Write(text);
  return output.status();
}

Json InfoJson(const RecordInfo& info) {
  return {{"key", ToHex(info.key)},
          {"tenant", ToHex(info.tenant)},
          {"token_start", info.token_start},
          {"token_count", info.token_count},
          {"payload_bytes", info.payload_bytes},
          {"record_bytes", info.record_bytes},
          {"written", TimeText(info.written_unix_ms)},
          {"used", TimeText(info.used_unix_ms)},
          {"expires", TimeText(info.expires_unix_ms)},
          {"use_count", info.use_count},
          {"pinned", info.pinned}};
}

Status RunStat(const CacheOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToRead(options));
  const StoreStats stats = store->stats();
  const DiskStore::Recovery recovery = store->recovery();
  std::vector<Digest> tenants;
  store->ForEach([&](const RecordInfo& info) {
    tenants.push_back(info.tenant);
    return true;
  });
  std::sort(tenants.begin(), tenants.end());
  tenants.erase(std::unique(tenants.begin(), tenants.end()), tenants.end());
  if (options.json) {
    return PrintJson({{"directory", options.directory.value_or("")},
                      {"backend", stats.backend},
                      {"records", stats.record_count},
                      {"pinned", stats.pinned_count},
                      {"tenants", tenants.size()},
                      {"payload_bytes", stats.payload_bytes},
                      {"physical_bytes", stats.physical_bytes},
                      {"segments", stats.segment_count},
                      {"index_whole", recovery.index_whole},
                      {"scanned_records", recovery.scanned_count},
                      {"dropped_records", recovery.dropped_count}});
  }
  return Print(
      "records    " + std::to_string(stats.record_count) + ", " +
      std::to_string(stats.pinned_count) + " pinned, of " + std::to_string(tenants.size()) +
      " tenants\n" + "blocks     " + FormatBytes(static_cast<double>(stats.payload_bytes)) + "\n" +
      "on disk    " + FormatBytes(static_cast<double>(stats.physical_bytes)) + " in " +
      std::to_string(stats.segment_count) + " segments\n" + "reading    " + stats.backend + "\n");
}

Status RunList(const CacheOptions& options) {
  std::optional<Digest> tenant;
  if (options.tenant) {
    KVASIR_ASSIGN_OR_RETURN(tenant, ParseDigest(*options.tenant));
  }
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToRead(options));
  Json list = Json::array();
  std::string table;
  size_t count = 0;
  store->ForEach([&](const RecordInfo& info) {
    if (count == options.limit) return false;
    if (tenant && info.tenant != *tenant) return true;
    ++count;
    if (options.json) {
      list.push_back(InfoJson(info));
      return true;
    }
    char line[160];
    std::snprintf(line, sizeof(line), "%s  %8llu +%llu  %10s  %s  used %llu%s\n",
                  ToHex(info.key).substr(0, 16).c_str(),
                  static_cast<unsigned long long>(info.token_start),
                  static_cast<unsigned long long>(info.token_count),
                  FormatBytes(static_cast<double>(info.record_bytes)).c_str(),
                  TimeText(info.written_unix_ms).c_str(),
                  static_cast<unsigned long long>(info.use_count), info.pinned ? "  pinned" : "");
    table += line;
    return true;
  });
  return options.json ? PrintJson(list) : Print(table);
}

// What the flags ask for, held against the record: the message of the first that differs.
Status Explain(const CacheOptions& options, const RecordHeader& header) {
  RecordIdentity identity = IdentityOf(header);
  if (options.fingerprint) {
    KVASIR_ASSIGN_OR_RETURN(identity.fingerprint, ParseDigest(*options.fingerprint));
  }
  if (options.tenant) {
    KVASIR_ASSIGN_OR_RETURN(identity.tenant, ParseDigest(*options.tenant));
  }
  if (options.parent) {
    KVASIR_ASSIGN_OR_RETURN(identity.parent, ParseDigest(*options.parent));
  }
  const std::vector<int32_t> tokens(options.tokens.begin(), options.tokens.end());
  if (!tokens.empty()) identity.tokens = tokens;
  return CompareRecordIdentity(header, identity, header.payload_bytes);
}

Status RunLookup(const CacheOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToRead(options));
  KVASIR_ASSIGN_OR_RETURN(const Digest key, FindKey(*store, options.key.value_or("")));
  KVASIR_ASSIGN_OR_RETURN(const CheckedRecord record, ReadChecked(*store, key));
  const RecordHeader& header = record.header;
  const Json json = {{"key", ToHex(header.key)},
                     {"parent", ToHex(header.parent)},
                     {"fingerprint", ToHex(header.fingerprint)},
                     {"tenant", ToHex(header.tenant)},
                     {"token_start", header.token_start},
                     {"tokens", header.tokens},
                     {"sections", header.sections.size()},
                     {"payload_bytes", header.payload_bytes},
                     {"stored_bytes", header.stored_bytes},
                     {"sequence", header.sequence},
                     {"written", TimeText(header.written_unix_ms)},
                     {"expires", TimeText(header.expires_unix_ms)}};
  if (options.json) {
    KVASIR_RETURN_IF_ERROR(PrintJson(json));
  } else {
    std::string text;
    for (const auto& [name, value] : json.items()) {
      text += name + std::string(14 - name.size(), ' ') +
              (value.is_string() ? value.get<std::string>() : DumpJson(value)) + "\n";
    }
    KVASIR_RETURN_IF_ERROR(Print(text));
  }
  return Explain(options, header);
}

Result<size_t> EraseAndWait(DiskStore& store, std::vector<Digest> keys) {
  std::promise<Result<size_t>> erased;
  store.Erase(std::move(keys), [&](const Result<size_t>& count) { erased.set_value(count); });
  return erased.get_future().get();
}

Status RunVerify(const CacheOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const Store store,
                          options.repair ? OpenToWrite(options) : OpenToRead(options));
  KVASIR_ASSIGN_OR_RETURN(const VerifyReport report, VerifyStore(*store));
  Json bad = Json::array();
  std::string table;
  std::vector<Digest> keys;
  for (const BadRecord& record : report.bad) {
    bad.push_back({{"key", ToHex(record.key)}, {"reason", record.reason}});
    table += ToHex(record.key) + "  " + record.reason + "\n";
    keys.push_back(record.key);
  }
  if (options.json) {
    KVASIR_RETURN_IF_ERROR(PrintJson({{"good_records", report.good_count},
                                      {"good_bytes", report.byte_count},
                                      {"bad_records", std::move(bad)},
                                      {"missing_records", report.recovery.dropped_count},
                                      {"foreign_files", report.recovery.foreign_count},
                                      {"index_whole", report.recovery.index_whole}}));
  } else {
    KVASIR_RETURN_IF_ERROR(Print(table + std::to_string(report.good_count) + " records are good, " +
                                 FormatBytes(static_cast<double>(report.byte_count)) + "\n"));
  }
  if (options.repair) return EraseAndWait(*store, std::move(keys)).status();
  if (report.clean()) return OkStatus();
  return DataLoss(std::to_string(report.bad.size()) + " records are bad, " +
                  std::to_string(report.recovery.dropped_count) + " are missing, " +
                  std::to_string(report.recovery.foreign_count) + " files are no segments");
}

Status RunPin(const CacheOptions& options, bool pinned) {
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToWrite(options));
  KVASIR_ASSIGN_OR_RETURN(const Digest key, FindKey(*store, options.key.value_or("")));
  store->SetPinned(key, pinned);
  return store->Flush(kNoDeadline);
}

Status RunRemove(const CacheOptions& options) {
  if (options.key.has_value() == options.tenant.has_value()) {
    return InvalidArgument("cache rm needs either a KEY or --tenant");
  }
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToWrite(options));
  Result<size_t> count = size_t{0};
  if (options.key) {
    KVASIR_ASSIGN_OR_RETURN(const Digest key, FindKey(*store, *options.key));
    count = EraseAndWait(*store, {key});
  } else {
    KVASIR_ASSIGN_OR_RETURN(const Digest tenant, ParseDigest(*options.tenant));
    std::promise<Result<size_t>> erased;
    store->EraseTenant(tenant, [&](const Result<size_t>& c) { erased.set_value(c); });
    count = erased.get_future().get();
  }
  KVASIR_RETURN_IF_ERROR(count.status());
  return Print(std::to_string(*count) + " records removed\n");
}

Status RunCollect(const CacheOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToWrite(options));
  KVASIR_ASSIGN_OR_RETURN(const uint64_t freed_bytes, store->CollectGarbage());
  const StoreStats stats = store->stats();
  return Print(std::to_string(stats.evicted_count) + " records evicted, " +
               std::to_string(stats.expired_count) + " expired, " +
               FormatBytes(static_cast<double>(freed_bytes)) + " given back, " +
               FormatBytes(static_cast<double>(stats.physical_bytes)) + " on disk\n");
}

Status RunExport(const CacheOptions& options) {
  std::optional<Digest> tenant;
  if (options.tenant) {
    KVASIR_ASSIGN_OR_RETURN(tenant, ParseDigest(*options.tenant));
  }
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToRead(options));
  KVASIR_ASSIGN_OR_RETURN(const uint64_t count, ExportRecords(*store, tenant ? &*tenant : nullptr,
                                                              options.file.value_or("")));
  return Print(std::to_string(count) + " records exported\n");
}

Status RunImport(const CacheOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const Store store, OpenToWrite(options));
  KVASIR_ASSIGN_OR_RETURN(const ImportReport report,
                          ImportRecords(*store, options.file.value_or(""), UnixMilliseconds()));
  return Print(std::to_string(report.stored_count) + " records imported, " +
               std::to_string(report.expired_count) + " had expired\n");
}

void AddTenantFlag(CLI::App& app, CacheOptions& options, const std::string& what) {
  AddTextFlag(app, "--tenant", &options.tenant, "DIGEST", what);
}

}  // namespace

CommandFunction AddCacheCommand(CLI::App& parent) {
  CLI::App& group = AddCommand(parent, "cache", "Cached blocks on disk", kGroupFooter);
  auto options = std::make_shared<CacheOptions>();
  auto run = std::make_shared<std::vector<std::pair<std::unique_ptr<bool>, CommandFunction>>>();
  // Each command notes that it was chosen; the group runs that one.
  const auto add = [&](const std::string& name, const std::string& description,
                       const std::string& footer, CommandFunction function) -> CLI::App& {
    CLI::App& app = AddCommand(group, name, description, footer);
    AddTextArgument(app, "DIR", &options->directory, "the directory of the store");
    run->emplace_back(std::make_unique<bool>(false), std::move(function));
    NoteChosen(app, run->back().first.get());
    return app;
  };
  CacheOptions* o = options.get();

  CLI::App& stat = add("stat", "How much is there", "", [o] { return RunStat(*o); });
  AddSwitch(stat, "--json", &o->json, "print one JSON object");

  CLI::App& list = add("ls", "The records, the oldest first", "", [o] { return RunList(*o); });
  AddTenantFlag(list, *o, "only of this tenant");
  AddCountFlag(list, "--limit", &o->limit, 1, SIZE_MAX, "at most this many");
  AddSwitch(list, "--json", &o->json, "print a JSON array");

  CLI::App& lookup =
      add("lookup", "One record, and why it is a miss",
          "Reads and checks the record. With a flag, says which field or token differs from what\n"
          "is asked for, with exit code 2.",
          [o] { return RunLookup(*o); });
  AddTextArgument(lookup, "KEY", &o->key, "the record");
  AddTextFlag(lookup, "--fingerprint", &o->fingerprint, "DIGEST", "expected model and formats");
  AddTenantFlag(lookup, *o, "expected tenant");
  AddTextFlag(lookup, "--parent", &o->parent, "DIGEST", "expected key of the block before");
  AddCountsFlag(lookup, "--tokens", &o->tokens, 0, INT32_MAX, "expected token ids, with commas");
  AddSwitch(lookup, "--json", &o->json, "print one JSON object");

  CLI::App& verify = add("verify", "Check every byte",
                         "Exit code 0 when every record is good and nothing is missing, else 2.",
                         [o] { return RunVerify(*o); });
  AddSwitch(verify, "--repair", &o->repair, "remove what is bad");
  AddSwitch(verify, "--json", &o->json, "print one JSON object");

  CLI::App& pin =
      add("pin", "Keep a record from being evicted", "", [o] { return RunPin(*o, true); });
  AddTextArgument(pin, "KEY", &o->key, "the record");
  CLI::App& unpin = add("unpin", "Let a record be evicted", "", [o] { return RunPin(*o, false); });
  AddTextArgument(unpin, "KEY", &o->key, "the record");

  CLI::App& remove = add("rm", "Remove a record, or all of a tenant",
                         "The bytes of a tenant are overwritten before the command ends.",
                         [o] { return RunRemove(*o); });
  AddOptionalTextArgument(remove, "KEY", &o->key, "the record");
  AddTenantFlag(remove, *o, "all records of this tenant");

  CLI::App& collect = add("gc", "Give back the bytes of what has expired or is unused", "",
                          [o] { return RunCollect(*o); });
  AddBytesFlag(collect, "--cap", &o->cap_bytes, kDiskCapBytesMin, "evict down to this size, too");

  CLI::App& export_app =
      add("export", "Copy records into a file", "", [o] { return RunExport(*o); });
  AddTextArgument(export_app, "FILE", &o->file, "a new file");
  AddTenantFlag(export_app, *o, "only of this tenant");
  CLI::App& import_app =
      add("import", "Store the records of such a file",
          "Every record is checked, but whoever made the file decides what is in it: import only\n"
          "files that you trust.",
          [o] { return RunImport(*o); });
  AddTextArgument(import_app, "FILE", &o->file, "what kvasir cache export made");
  AddBytesFlag(import_app, "--cap", &o->cap_bytes, kDiskCapBytesMin,
               "the most that the directory may take (default: no bound)");

  return [options, run]() -> Status {
    for (const auto& [chosen, function] : *run) {
      if (*chosen) return function();
    }
    return InvalidArgument("cache needs one of its commands");
  };
}

}  // namespace kvasir
