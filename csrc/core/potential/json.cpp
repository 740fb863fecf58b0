#include "json.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace equitensor {
namespace {

constexpr int DEEPEST = 64;

class Parser {
 public:
  Parser(const char* text, size_t size) : at_(text), end_(text + size) {}

  Json parse() {
    Json value = element(0);
    skip_space();
    if (at_ != end_) fail("something follows its end");
    return value;
  }

 private:
  const char *at_, *end_;

  [[noreturn]] static void fail(const char* what) { throw std::runtime_error(std::string("not JSON: ") + what); }

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) at_++;
  }

  char next() {
    if (at_ == end_) fail("it ends early");
    return *at_++;
  }

  bool take(char c) {
    skip_space();
    if (at_ == end_ || *at_ != c) return false;
    at_++;
    return true;
  }

  void word(const char* expected) {
    for (; *expected; expected++)
      if (next() != *expected) fail("an unknown word");
  }

  Json element(int depth) {
    if (depth > DEEPEST) fail("nested too deeply");
    skip_space();
    if (at_ == end_) fail("it ends early");
    Json value;
    switch (*at_) {
      case '{': members(value, depth); return value;
      case '[': items(value, depth); return value;
      case '"':
        value.kind = Json::string;
        value.text = quoted();
        return value;
      case 't':
        word("true");
        value.kind = Json::boolean;
        value.value = 1;
        return value;
      case 'f':
        word("false");
        value.kind = Json::boolean;
        return value;
      case 'n': word("null"); return value;
      default:
        value.kind = Json::number;
        value.value = digits();
        return value;
    }
  }

  void members(Json& value, int depth) {
    value.kind = Json::object;
    at_++;
    if (take('}')) return;
    do {
      skip_space();
      if (at_ == end_ || *at_ != '"') fail("a name in quotes is missing");
      std::string name = quoted();
      if (!take(':')) fail("a colon is missing");
      value.members.emplace_back(std::move(name), element(depth + 1));
    } while (take(','));
    if (!take('}')) fail("a brace is missing");
  }

  void items(Json& value, int depth) {
    value.kind = Json::array;
    at_++;
    if (take(']')) return;
    do value.items.push_back(element(depth + 1));
    while (take(','));
    if (!take(']')) fail("a bracket is missing");
  }

  double digits() {
    char text[64];
    size_t n = 0;
    while (at_ != end_ && n + 1 < sizeof text && (std::strchr("+-.eE", *at_) || (*at_ >= '0' && *at_ <= '9')))
      text[n++] = *at_++;
    text[n] = 0;
    char* stop = nullptr;
    const double value = std::strtod(text, &stop);
    if (n == 0 || stop != text + n) fail("a number is missing");
    return value;
  }

  unsigned hexadecimal() {
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
      const char c = next();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail("a character's code is no number");
      code = 16 * code + digit;
    }
    return code;
  }

  static void append(std::string& text, unsigned code) {  // as UTF-8
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 | (code >> 6));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      text += static_cast<char>(0xE0 | (code >> 12));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      text += static_cast<char>(0xF0 | (code >> 18));
      text += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      text += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
  }

  void escaped(std::string& text) {
    const char c = next();
    if (c == 'u') {
      unsigned code = hexadecimal();
      if (code >= 0xD800 && code < 0xDC00 && end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u') {  // of a pair
        at_ += 2;
        code = 0x10000 + ((code - 0xD800) << 10) + ((hexadecimal() - 0xDC00) & 0x3FF);
      }
      append(text, code);
      return;
    }
    const char* from = "\"\\/bfnrt";
    const char* to = "\"\\/\b\f\n\r\t";
    const char* escape = std::strchr(from, c);
    if (!escape || !c) fail("an unknown escape");
    text += to[escape - from];
  }

  std::string quoted() {
    std::string text;
    at_++;
    for (char c = next(); c != '"'; c = next()) {
      if (c == '\\')
        escaped(text);
      else
        text += c;
    }
    return text;
  }
};

}  // namespace

const Json* Json::find(const std::string& name) const {
  for (const auto& member : members)
    if (member.first == name) return &member.second;
  return nullptr;
}

const Json& Json::at(const std::string& name, Kind wanted) const {
  const Json* member = find(name);
  if (!member) throw std::runtime_error("has no \"" + name + "\"");
  if (member->kind != wanted) throw std::runtime_error("\"" + name + "\" is of another kind than expected");
  return *member;
}

long Json::integer(const std::string& name, long least, long most) const {
  const double value = at(name, number).value;
  if (!(value >= least && value <= most) || value != std::floor(value))
    throw std::runtime_error("\"" + name + "\" must be a whole number from " + std::to_string(least) + " to " +
                             std::to_string(most));
  return static_cast<long>(value);
}

Json parse_json(const char* text, size_t size) { return Parser(text, size).parse(); }

}  // namespace equitensor
