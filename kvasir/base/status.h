// Status and Result<T>: how every function of Kvasir that can fail says so.
//
// No exception crosses an interface of ours: a third-party exception is caught in the one file that
// wraps its library and becomes a Status. A message is one sentence that names what was wrong and
// what is allowed, without a full stop: it is printed to users behind "kvasir: ". Both types are
// values: copy, move and destroy them on any thread.

#ifndef KVASIR_BASE_STATUS_H_
#define KVASIR_BASE_STATUS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

enum class StatusCode {
  kOk,
  kInvalidArgument,    // the caller's input is wrong, whatever the state of the world
  kNotFound,           // the thing named does not exist
  kDataLoss,           // a file or record is truncated, corrupt or not of the kind it claims
  kUnimplemented,      // well-formed, but not supported here
  kResourceExhausted,  // memory, disk, queue or another bound
  kIoError,            // the operating system refused or failed
  kCancelled,          // the caller withdrew it
  kDeadlineExceeded,
  kUnavailable,  // the service behind it is out of order now; the same call may work later
};

// "invalid argument", "data loss" ...: for logs and tests.
std::string_view StatusCodeName(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same code with `context` and ": " before the message: adds the file or request that the
  // callee did not know.
  Status WithContext(std::string_view context) const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status OkStatus() { return Status(); }
inline Status InvalidArgument(std::string m) {
  return Status(StatusCode::kInvalidArgument, std::move(m));
}
inline Status NotFound(std::string m) { return Status(StatusCode::kNotFound, std::move(m)); }
inline Status DataLoss(std::string m) { return Status(StatusCode::kDataLoss, std::move(m)); }
inline Status Unimplemented(std::string m) {
  return Status(StatusCode::kUnimplemented, std::move(m));
}
inline Status ResourceExhausted(std::string m) {
  return Status(StatusCode::kResourceExhausted, std::move(m));
}
inline Status IoError(std::string m) { return Status(StatusCode::kIoError, std::move(m)); }
inline Status Cancelled(std::string m) { return Status(StatusCode::kCancelled, std::move(m)); }
inline Status DeadlineExceeded(std::string m) {
  return Status(StatusCode::kDeadlineExceeded, std::move(m));
}
inline Status Unavailable(std::string m) { return Status(StatusCode::kUnavailable, std::move(m)); }

// A T, or the Status that says why there is none. REQUIRES ok() before value(), operator* or
// operator->.
template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that `return value;` and `return status;` work.
  Result(T value) : value_(std::move(value)) {}                                        // NOLINT
  Result(Status status) : status_(std::move(status)) { KVASIR_CHECK(!status_.ok()); }  // NOLINT

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  T& value() & { return KVASIR_CHECK(ok()), *value_; }
  const T& value() const& { return KVASIR_CHECK(ok()), *value_; }
  T&& value() && { return KVASIR_CHECK(ok()), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

#define KVASIR_CONCAT_INNER(a, b) a##b
#define KVASIR_CONCAT(a, b) KVASIR_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expr` (a Status) is not ok.
#define KVASIR_RETURN_IF_ERROR(expr)                                                        \
  do {                                                                                      \
    if (::kvasir::Status kvasir_status = (expr); !kvasir_status.ok()) return kvasir_status; \
  } while (false)

// KVASIR_ASSIGN_OR_RETURN(auto x, F()): declares or assigns x from a Result, or returns its Status.
#define KVASIR_ASSIGN_OR_RETURN(lhs, expr) \
  KVASIR_ASSIGN_OR_RETURN_INNER(KVASIR_CONCAT(kvasir_result_, __LINE__), lhs, expr)
#define KVASIR_ASSIGN_OR_RETURN_INNER(result, lhs, expr) \
  auto result = (expr);                                  \
  if (!result.ok()) return result.status();              \
  lhs = std::move(result).value()

}  // namespace kvasir

#endif  // KVASIR_BASE_STATUS_H_
