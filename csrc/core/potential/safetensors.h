// The tensors of a model file, which is of the format safetensors.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "json.h"

namespace equitensor {

// Every byte is checked to lie within the file, which must outlive this. All functions throw std::runtime_error with the
// reason.
class Tensors {
 public:
  Tensors(const char* bytes, size_t size);

  // The values of a tensor, which must have this shape; none of them is infinite unless that is said, or not a number.
  std::vector<double> read(const std::string& name, std::initializer_list<int64_t> shape, bool finite = true) const;
  // The whole numbers of a matrix with so many rows.
  std::vector<int64_t> integers(const std::string& name, int64_t rows) const;
  // The first dimension of a tensor, 0 where it has none.
  int64_t length(const std::string& name) const;
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  bool any_ends_in(const std::string& end) const;

  std::string header;  // of equitensor, JSON; empty where there is none

 private:
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    const char* data;
    int64_t count;
  };
  std::map<std::string, Tensor> tensors_;

  const Tensor& find(const std::string& name) const;
  void add(const std::string& name, const Json& entry, const char* data, uint64_t data_size);
  template <class From, class To>
  static void copy(const Tensor& tensor, To* out);
};

}  // namespace equitensor
