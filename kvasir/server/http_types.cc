#include "kvasir/server/http_types.h"

#include <cstdio>

namespace kvasir {

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Header values that we write are ours, apart from echoed ids: no line break gets into a head.
void AppendHeader(std::string_view name, std::string_view value, std::string* head) {
  head->append(name).append(": ");
  for (const char c : value) head->push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  head->append("\r\n");
}

}  // namespace

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

std::string_view HttpReason(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 &&
                        HexDigit(text[i + 2]) >= 0;
    if (!escape) {
      decoded.push_back(text[i]);
      continue;
    }
    decoded.push_back(static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2])));
    i += 2;
  }
  return decoded;
}

std::string SerializeHead(const HttpResponse& response, int minor_version, bool keep_alive,
                          bool stream) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(HttpReason(response.status)) + "\r\n";
  for (const HttpHeader& header : response.headers) AppendHeader(header.name, header.value, &head);
  const bool has_body = stream || !response.body.empty();
  if (has_body) AppendHeader("Content-Type", response.content_type, &head);
  if (!stream) {
    if (response.status != 204) {
      AppendHeader("Content-Length", std::to_string(response.body.size()), &head);
    }
  } else if (minor_version >= 1) {
    AppendHeader("Transfer-Encoding", "chunked", &head);
  }
  // HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 closes it.
  if (!keep_alive || (stream && minor_version == 0)) {
    AppendHeader("Connection", "close", &head);
  } else if (minor_version == 0) {
    AppendHeader("Connection", "keep-alive", &head);
  }
  return head + "\r\n";
}

std::string SerializeChunk(std::string_view bytes) {
  if (bytes.empty()) return {};
  char size[24];
  std::snprintf(size, sizeof(size), "%zx\r\n", bytes.size());
  std::string chunk(size);
  chunk.append(bytes).append("\r\n");
  return chunk;
}

}  // namespace kvasir
