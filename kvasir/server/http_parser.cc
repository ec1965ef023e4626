#include "kvasir/server/http_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Boost's views are not std's.
std::string ToString(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

struct RequestParser::Rep {
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(const HttpLimits& limits) : rep_(std::make_unique<Rep>()) {
  rep_->parser.header_limit(static_cast<uint32_t>(limits.head_bytes_max));
  rep_->parser.body_limit(limits.body_bytes_max);
  rep_->parser.eager(true);
}

RequestParser::~RequestParser() = default;

RequestParser::State RequestParser::Feed(std::string* input) {
  while (state_ != State::kDone && state_ != State::kFailed) {
    if (state_ == State::kHead) {
      // RFC 9112, 2.2: empty lines before a request line are skipped.
      input->erase(0, std::min(input->find_first_not_of("\r\n"), input->size()));
    }
    if (input->empty()) break;
    error_code error;
    const bool head_was_done = rep_->parser.is_header_done();
    // One step at a time: the head is checked before any of the body is looked at.
    rep_->parser.eager(head_was_done);
    const size_t used = rep_->parser.put(boost::asio::buffer(*input), error);
    input->erase(0, used);
    if (error == http::error::need_more) break;
    if (error == http::error::header_limit) {
      Fail(431, "headers_too_large", "the request line and headers are longer than the limit");
    } else if (error == http::error::body_limit) {
      Fail(413, "request_too_large", "the request body is larger than the limit");
    } else if (error) {
      Fail(400, "malformed_request", "the request is not well-formed HTTP: " + error.message());
    } else if (!head_was_done && rep_->parser.is_header_done()) {
      state_ = State::kBody;
      CheckHead();
    }
    if (state_ == State::kBody && rep_->parser.is_done()) state_ = State::kDone;
    if (state_ == State::kBody && used == 0 && head_was_done) break;
  }
  return state_;
}

void RequestParser::Fail(int status, std::string code, std::string message) {
  state_ = State::kFailed;
  failure_ = {status, std::move(code), std::move(message)};
}

void RequestParser::CheckHead() {
  const auto& message = rep_->parser.get();
  size_t length_count = 0, encoding_count = 0, host_count = 0;
  std::string encoding;
  for (const auto& field : message) {
    length_count += field.name() == http::field::content_length;
    host_count += field.name() == http::field::host;
    if (field.name() == http::field::transfer_encoding) {
      ++encoding_count;
      encoding = LowerCase(ToString(field.value()));
    }
    for (const char c : field.value()) {
      const auto byte = static_cast<unsigned char>(c);
      if ((byte < 0x20 && c != '\t') || byte == 0x7F) {
        return Fail(400, "malformed_request", "a header holds a control character");
      }
    }
  }
  const auto length = message.find(http::field::content_length);
  const bool plain_length = length_count == 0 || (length->value().size() <= 19 &&
                                                  length->value().find_first_not_of("0123456789") ==
                                                      boost::beast::string_view::npos);
  std::string path, query;
  if (length_count > 1 || !plain_length) {
    Fail(400, "malformed_request", "Content-Length must be one whole number");
  } else if (encoding_count > 1 || (encoding_count == 1 && encoding != "chunked")) {
    Fail(400, "malformed_request", "the only Transfer-Encoding known here is chunked");
  } else if (encoding_count == 1 && (length_count > 0 || message.version() < 11)) {
    Fail(400, "malformed_request",
         "Transfer-Encoding goes neither with Content-Length nor HTTP/1.0");
  } else if (host_count > 1 || (host_count == 0 && message.version() >= 11)) {
    Fail(400, "malformed_request", "a request has exactly one Host header");
  } else if (message.version() < 10 || message.version() > 11) {
    Fail(400, "malformed_request", "only HTTP/1.0 and HTTP/1.1 are spoken here");
  } else if (!SplitTarget(ToString(message.target()), &path, &query)) {
    Fail(400, "malformed_request", "the request target is no path");
  }
}

bool RequestParser::expects_continue() const {
  const auto& message = rep_->parser.get();
  return LowerCase(ToString(message[http::field::expect])) == "100-continue";
}

size_t RequestParser::body_bytes() const { return rep_->parser.get().body().size(); }

HttpRequest RequestParser::TakeRequest() {
  KVASIR_CHECK(state_ == State::kDone);
  HttpRequest request;
  request.keep_alive = rep_->parser.keep_alive();
  auto message = rep_->parser.release();
  request.method = ToString(message.method_string());
  request.minor_version = message.version() >= 11 ? 1 : 0;
  SplitTarget(ToString(message.target()), &request.path, &request.query);
  for (const auto& field : message) {
    request.headers.push_back({LowerCase(ToString(field.name_string())), ToString(field.value())});
  }
  request.body = std::move(message.body());
  return request;
}

bool SplitTarget(std::string_view target, std::string* path, std::string* query) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!LowerCase(target.substr(0, scheme.size())).starts_with(scheme)) continue;
    const size_t slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  if (target != "*" && !target.starts_with("/")) return false;
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  *path = PercentDecode(target.substr(0, question));
  *query = question == std::string_view::npos ? "" : std::string(target.substr(question + 1));
  return true;
}

}  // namespace kvasir
