// RequestJson: the body of a request -> JSON, with every limit that a hostile body could test:
// depth, number of values, members of one object, duplicate keys, invalid UTF-8, numbers that are
// none. And ObjectReader: reads the members of one object by name, type and range, and remembers
// the first thing that is wrong. Any thread; a reader is for one.

#ifndef KVASIR_SERVER_REQUEST_JSON_H_
#define KVASIR_SERVER_REQUEST_JSON_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/server/api_error.h"

namespace kvasir {

struct RequestJsonLimits {
  size_t depth_max = 64;
  // A value takes some 16 bytes and an allocation: this bounds memory and time for any body.
  size_t value_count_max = 1 << 20;
  // Objects keep their order in a list, in which looking for a key takes time.
  size_t member_count_max = 1024;
};

// Writes an object to `*json`. Otherwise returns what is wrong, and leaves it alone.
ApiError ParseRequestJson(std::string_view body, Json* json, const RequestJsonLimits& limits = {});

// Reads one object; `path` names it in messages: "" for the body, "stream_options" below it. A
// member that is null counts as absent. After the first failure the Read methods do nothing.
class ObjectReader {
 public:
  // `object` must outlive the reader. An object that is none is the first failure.
  ObjectReader(const Json& object, std::string path);

  // Null when absent. Marks the member as known.
  const Json* Find(const char* name);
  bool Has(const char* name) { return Find(name) != nullptr; }

  // Each writes its target only when the member is present. True when it wrote.
  bool ReadBool(const char* name, bool* target);
  bool ReadNumber(const char* name, double min, double max, float* target);
  bool ReadCount(const char* name, uint64_t min, uint64_t max, uint64_t* target);
  bool ReadInteger(const char* name, int64_t min, int64_t max, int64_t* target);
  bool ReadString(const char* name, size_t bytes_max, std::string* target);
  // A string, or an array of at most `count_max` strings.
  bool ReadStrings(const char* name, size_t count_max, size_t bytes_max,
                   std::vector<std::string>* target);
  // Members that are accepted and have no effect here.
  void Ignore(std::initializer_list<const char*> names);

  // The names that nobody asked for.
  std::vector<std::string> UnknownMembers() const;

  // "stream_options.include_usage".
  std::string PathOf(std::string_view name) const;
  void Fail(ApiError error);
  bool failed() const { return error_.failed(); }
  const ApiError& error() const { return error_; }

 private:
  // Null and no failure when absent; null and a failure when `is_right` is false for it.
  const Json* FindTyped(const char* name, bool (*is_right)(const Json&), const char* what);

  const Json& object_;
  const std::string path_;
  std::set<std::string, std::less<>> known_;
  ApiError error_;
};

// "an object", "a string" ...: for messages.
std::string DescribeJsonType(const Json& value);

}  // namespace kvasir

#endif  // KVASIR_SERVER_REQUEST_JSON_H_
