// XML text for the charts that we write. Free functions, any thread.

#ifndef KVASIR_BASE_XML_H_
#define KVASIR_BASE_XML_H_

#include <string>
#include <string_view>

namespace kvasir {

// `text` as the content of an element. Control characters, and bytes outside ASCII, which may be no
// UTF-8 (names of files and servers), become '?'.
std::string EscapeXml(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_BASE_XML_H_
