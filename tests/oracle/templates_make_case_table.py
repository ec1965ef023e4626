#!/usr/bin/env python3
"""Writes kvasir/text/jinja_case_table.h: simple upper and lower case mappings beyond ASCII, as ranges.

The truth is Python's own str.upper() and str.lower(), since chat templates are written for Python. Characters whose
upper or lower case has several characters are left out (jinja_unicode.cc knows the only one that matters).
Usage: templates_make_case_table.py > kvasir/text/jinja_case_table.h
"""

import unicodedata


def ranges(convert):
    """[first, last, stride, delta]: every stride-th character of first..last moves by delta."""
    result = []
    for code in range(0x80, 0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        converted = convert(chr(code))
        if len(converted) != 1 or ord(converted) == code:
            continue
        delta = ord(converted) - code
        if result and result[-1][3] == delta:
            first, last, stride, _ = result[-1]
            if (first == last and code - last <= 2) or code - last == stride:
                result[-1] = [first, code, code - last, delta]
                continue
        result.append([code, code, 1, delta])
    return result


def print_table(name, table):
    print(f"inline constexpr JinjaCaseRange {name}[] = {{")
    for first, last, stride, delta in table:
        print(f"    {{0x{first:04x}, 0x{last:04x}, {stride}, {delta}}},")
    print("};\n")


print(f"""// Upper and lower case beyond ASCII (Unicode {unicodedata.unidata_version}), for JinjaUpper and JinjaLower alone.
// Made by tests/oracle/templates_make_case_table.py: do not edit.

// clang-format off
#ifndef KVASIR_TEXT_JINJA_CASE_TABLE_H_
#define KVASIR_TEXT_JINJA_CASE_TABLE_H_

#include <cstdint>

namespace kvasir {{

// Every stride-th code point of first..last moves by delta.
struct JinjaCaseRange {{
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t delta;
}};
""")
print_table("kJinjaUpperRanges", ranges(str.upper))
print_table("kJinjaLowerRanges", ranges(str.lower))
print("""}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_CASE_TABLE_H_""")
