#include "kvasir/weights/field_reader.h"

#include <cmath>

#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

// "1e-05", "500000": as short as a float allows.
std::string NumberText(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.7g", value);
  return text;
}

std::optional<double> AsNumber(const FieldValue& value) {
  if (const auto* u = std::get_if<uint64_t>(&value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<int64_t>(&value)) return static_cast<double>(*i);
  if (const auto* d = std::get_if<double>(&value)) return *d;
  return std::nullopt;
}

std::string IntegerText(const FieldValue& value) {
  if (const auto* u = std::get_if<uint64_t>(&value)) return std::to_string(*u);
  if (const auto* i = std::get_if<int64_t>(&value)) return std::to_string(*i);
  return NumberText(*AsNumber(value));
}

bool IsAbsent(const FieldValue& value) { return std::holds_alternative<FieldAbsent>(value); }

}  // namespace

uint32_t FieldReader::Uint(std::string_view key, Bounds<uint32_t> bounds,
                           std::optional<uint32_t> fallback) {
  const FieldValue value = Look(key);
  if (IsAbsent(value)) {
    if (fallback.has_value()) return *fallback;
    FailMissing(key);
    return bounds.min;
  }
  const std::optional<double> number = AsNumber(value);
  if (!number.has_value()) {
    FailType(key, "a whole number");
    return bounds.min;
  }
  // Doubles hold every number within 32-bit bounds exactly; larger ones stay larger when rounded.
  if (!(*number >= bounds.min && *number <= bounds.max) || *number != std::floor(*number)) {
    Fail(InvalidArgument(Name(key) + " is " + IntegerText(value) + ", allowed are whole numbers " +
                         "from " + std::to_string(bounds.min) + " to " +
                         std::to_string(bounds.max)));
    return bounds.min;
  }
  return static_cast<uint32_t>(*number);
}

float FieldReader::Float(std::string_view key, Bounds<float> bounds,
                         std::optional<float> fallback) {
  const FieldValue value = Look(key);
  if (IsAbsent(value)) {
    if (fallback.has_value()) return *fallback;
    FailMissing(key);
    return bounds.min;
  }
  const std::optional<double> number = AsNumber(value);
  if (!number.has_value()) {
    FailType(key, "a number");
    return bounds.min;
  }
  const float result = static_cast<float>(*number);
  if (!(result >= bounds.min && result <= bounds.max)) {
    Fail(InvalidArgument(Name(key) + " is " + NumberText(*number) + ", allowed are " +
                         NumberText(bounds.min) + " to " + NumberText(bounds.max)));
    return bounds.min;
  }
  return result;
}

bool FieldReader::Bool(std::string_view key, bool fallback) {
  const FieldValue value = Look(key);
  if (IsAbsent(value)) return fallback;
  if (const auto* b = std::get_if<bool>(&value)) return *b;
  FailType(key, "true or false");
  return fallback;
}

std::string FieldReader::String(std::string_view key, std::string_view fallback) {
  const FieldValue value = Look(key);
  if (IsAbsent(value)) return std::string(fallback);
  if (const auto* s = std::get_if<std::string_view>(&value)) return std::string(*s);
  FailType(key, "a string");
  return std::string(fallback);
}

bool FieldReader::Has(std::string_view key) const { return !IsAbsent(Look(key)); }

void FieldReader::Fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void FieldReader::FailMissing(std::string_view key) {
  Fail(InvalidArgument("the field " + Name(key) + " is missing from " +
                       std::string(source_.description())));
}

void FieldReader::FailType(std::string_view key, std::string_view wanted) {
  const FieldValue value = Look(key);
  std::string found = "a number";
  if (const auto* other = std::get_if<FieldOther>(&value)) found = other->what;
  if (std::holds_alternative<bool>(value)) found = "true or false";
  if (const auto* s = std::get_if<std::string_view>(&value)) {
    found = "the string \"" + Printable(*s) + "\"";
  }
  Fail(InvalidArgument(Name(key) + " is " + found + ", but must be " + std::string(wanted)));
}

}  // namespace kvasir
