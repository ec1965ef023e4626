// Reading numbers and switches from a model's description, whatever file holds it: FieldSource is a
// set of named values (GGUF metadata, a JSON object), FieldReader checks type and bounds while it
// reads. The reader keeps the first error, so that a family reads all its fields in a row and asks
// status() once; after an error every read returns the lowest allowed value. For one thread at a
// time.

#ifndef KVASIR_WEIGHTS_FIELD_READER_H_
#define KVASIR_WEIGHTS_FIELD_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "kvasir/base/status.h"

namespace kvasir {

struct FieldAbsent {};  // also a JSON null
struct FieldOther {     // an array or an object
  std::string_view what;
};
using FieldValue =
    std::variant<FieldAbsent, FieldOther, bool, uint64_t, int64_t, double, std::string_view>;

class FieldSource {
 public:
  virtual ~FieldSource() = default;
  // Strings stay valid as long as the source.
  virtual FieldValue Find(std::string_view key) const = 0;
  // How messages call it: "config.json", "GGUF metadata".
  virtual std::string_view description() const = 0;
};

template <typename T>
struct Bounds {
  T min;
  T max;
};

class FieldReader {
 public:
  // Every key is looked up as `prefix` + key. `source` must outlive the reader.
  explicit FieldReader(const FieldSource& source, std::string_view prefix = "")
      : source_(source), prefix_(prefix) {}

  // The value, or `fallback` when the field is absent. Without a fallback absence is an error.
  uint32_t Uint(std::string_view key, Bounds<uint32_t> bounds,
                std::optional<uint32_t> fallback = std::nullopt);
  float Float(std::string_view key, Bounds<float> bounds,
              std::optional<float> fallback = std::nullopt);
  bool Bool(std::string_view key, bool fallback);
  std::string String(std::string_view key, std::string_view fallback);
  bool Has(std::string_view key) const;

  // Records an error that the caller found, unless there is one already.
  void Fail(Status status);
  const Status& status() const { return status_; }

 private:
  FieldValue Look(std::string_view key) const { return source_.Find(Name(key)); }
  std::string Name(std::string_view key) const { return prefix_ + std::string(key); }
  void FailMissing(std::string_view key);
  void FailType(std::string_view key, std::string_view wanted);

  const FieldSource& source_;
  std::string prefix_;
  Status status_;
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_FIELD_READER_H_
