#include "kvasir/base/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace kvasir {
namespace {

Result<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return InvalidArgument(std::to_string(value) + " is odd");
  return std::make_unique<int>(value / 2);
}

Result<int> Quarter(int value) {
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}

Status CheckQuarter(int value) {
  KVASIR_RETURN_IF_ERROR(Quarter(value).status());
  return OkStatus();
}

TEST(StatusTest, MacrosPassValuesAndErrorsOn) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Quarter(6).status().message(), "3 is odd");
  EXPECT_TRUE(CheckQuarter(4).ok());
  EXPECT_EQ(CheckQuarter(5).code(), StatusCode::kInvalidArgument);
}

TEST(StatusTest, ContextGoesBeforeTheMessageAndKeepsTheCode) {
  const Status status = DataLoss("block 3 is short").WithContext("model.gguf");
  EXPECT_EQ(status.message(), "model.gguf: block 3 is short");
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_TRUE(OkStatus().WithContext("nothing").ok());
  EXPECT_EQ(StatusCodeName(status.code()), "data loss");
}

TEST(StatusDeathTest, TheValueOfAnErrorIsAProgrammersMistake) {
  const Result<int> error = NotFound("no such thing");
  EXPECT_DEATH((void)error.value(), "check failed");
}

}  // namespace
}  // namespace kvasir
