#include "kvasir/engine/request.h"

#include <limits>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

Request ValidRequest() { return {.prompt = {1, 2, 3}, .stop_tokens = {}, .sampling = {}}; }

void ExpectRefused(const Request& request, const std::string& message) {
  const Status status = CheckRequest(request, 100, 10);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), message);
}

TEST(CheckRequest, AcceptsWhatFits) {
  Request request = ValidRequest();
  EXPECT_TRUE(CheckRequest(request, 100, 10).ok());
  request.prompt.assign(9, 99);
  request.token_count_max = std::numeric_limits<size_t>::max();
  EXPECT_TRUE(CheckRequest(request, 100, 10).ok());
}

TEST(CheckRequest, NamesWhatIsWrongAndWhatIsAllowed) {
  Request request = ValidRequest();
  request.prompt = {};
  ExpectRefused(request, "the prompt is empty, it must have at least 1 token");
  request.prompt.assign(10, 1);
  ExpectRefused(
      request,
      "the prompt has 10 tokens, at most 9 fit beside one new token into the context of 10");
  request.prompt = {1, 100};
  ExpectRefused(request, "prompt token 1 has the id 100, the vocabulary has the ids 0 to 99");
  request.prompt = {-1};
  ExpectRefused(request, "prompt token 0 has the id -1, the vocabulary has the ids 0 to 99");
  request = ValidRequest();
  request.token_count_max = 0;
  ExpectRefused(request, "token_count_max is 0, it must be at least 1");
}

TEST(CheckRequest, BoundsWhatARequestMayAskFor) {
  Request request = ValidRequest();
  request.token_count_max = 5;
  request.token_count_min = 5;
  EXPECT_TRUE(CheckRequest(request, 100, 10).ok());
  request.token_count_min = 6;
  ExpectRefused(request, "token_count_min is 6, allowed is 0 to token_count_max, which is 5");
  request = ValidRequest();
  request.top_logprob_count = 21;
  ExpectRefused(request, "top_logprob_count is 21, allowed is 0 to 20");
  request = ValidRequest();
  request.logit_bias = {{5, 1000.0f}, {99, -1000.0f}};
  EXPECT_TRUE(CheckRequest(request, 100, 10).ok());
  request.logit_bias = {{100, 1.0f}};
  ExpectRefused(request, "logit_bias names the token 100, the vocabulary has the ids 0 to 99");
  request.logit_bias = {{7, 1001.0f}};
  ExpectRefused(request,
                "the logit_bias of token 7 is 1001.000000, allowed is -1000.000000 to 1000.000000");
  request.logit_bias = {{7, std::numeric_limits<float>::quiet_NaN()}};
  EXPECT_FALSE(CheckRequest(request, 100, 10).ok());
}

TEST(CheckRequest, BoundsTheSamplingParameters) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto refuses = [](float SamplingParams::*field, const std::string& name, float value) {
    Request request = ValidRequest();
    request.sampling.*field = value;
    const Status status = CheckRequest(request, 100, 10);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << name << " " << value;
    EXPECT_EQ(status.message().find(name + " is "), 0) << status.message();
  };
  for (float value : {nan, infinity, -infinity}) {
    refuses(&SamplingParams::temperature, "temperature", value);
    refuses(&SamplingParams::top_p, "top_p", value);
    refuses(&SamplingParams::min_p, "min_p", value);
    refuses(&SamplingParams::repetition_penalty, "repetition_penalty", value);
    refuses(&SamplingParams::presence_penalty, "presence_penalty", value);
    refuses(&SamplingParams::frequency_penalty, "frequency_penalty", value);
  }
  refuses(&SamplingParams::temperature, "temperature", -0.5f);
  refuses(&SamplingParams::top_p, "top_p", 1.5f);
  refuses(&SamplingParams::min_p, "min_p", -0.1f);
  refuses(&SamplingParams::repetition_penalty, "repetition_penalty", 0);
}

TEST(FinishReason, HasANameEach) {
  EXPECT_EQ(FinishReasonName(FinishReason::kStop), "stop");
  EXPECT_EQ(FinishReasonName(FinishReason::kLength), "length");
  EXPECT_EQ(FinishReasonName(FinishReason::kCancelled), "cancelled");
  EXPECT_EQ(FinishReasonName(FinishReason::kDeadline), "deadline");
  EXPECT_EQ(FinishReasonName(FinishReason::kError), "error");
}

}  // namespace
}  // namespace kvasir
