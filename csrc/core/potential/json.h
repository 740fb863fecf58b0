// JSON values, as far as a model file needs them.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace equitensor {

struct Json {
  enum Kind { null, boolean, number, string, array, object } kind = null;
  double value = 0;  // of a number; 1 for true
  std::string text;
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members;

  // The member of that name, or null.
  const Json* find(const std::string& name) const;
  // The member of that name and kind; throws std::runtime_error, naming it, where there is none.
  const Json& at(const std::string& name, Kind kind) const;
  // A whole number between the two; throws std::runtime_error, naming it.
  long integer(const std::string& name, long least, long most) const;
};

// Throws std::runtime_error for text that is not JSON.
Json parse_json(const char* text, size_t size);

}  // namespace equitensor
