#include "safetensors.h"

#include <cmath>
#include <cstring>
#include <stdexcept>

namespace equitensor {
namespace {

constexpr uint64_t LONGEST_HEADER = 100000000;  // as in safetensors: what is read from it takes up to 50 times as much

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

std::string shown(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

int size_of(const std::string& dtype) {
  if (dtype == "F32" || dtype == "I32") return 4;
  if (dtype == "F64" || dtype == "I64") return 8;
  return 0;
}

}  // namespace

Tensors::Tensors(const char* bytes, size_t size) {
  if (size < 8) fail("is not a model file: it has " + std::to_string(size) + " bytes");
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (length > size - 8 || length > LONGEST_HEADER) fail("is not a model file, or is cut short");
  const Json index = parse_json(bytes + 8, length);
  if (index.kind != Json::object) fail("is not a model file");
  const char* data = bytes + 8 + length;
  const uint64_t data_size = size - 8 - length;
  for (const auto& [name, entry] : index.members) {
    if (name == "__metadata__") {
      if (const Json* about = entry.find("equitensor"); about && about->kind == Json::string) header = about->text;
      continue;
    }
    add(name, entry, data, data_size);
  }
}

template <class From, class To>
void Tensors::copy(const Tensor& tensor, To* out) {
  for (int64_t i = 0; i < tensor.count; i++) {
    From value;
    std::memcpy(&value, tensor.data + i * sizeof(From), sizeof(From));
    out[i] = static_cast<To>(value);
  }
}

std::vector<double> Tensors::read(const std::string& name, std::initializer_list<int64_t> shape, bool finite) const {
  const Tensor& tensor = find(name);
  if (tensor.shape != std::vector<int64_t>(shape))
    fail("its \"" + name + "\" has shape " + shown(tensor.shape) + ", its settings ask for " + shown(shape));
  std::vector<double> out(tensor.count);
  if (tensor.dtype == "F32")
    copy<float>(tensor, out.data());
  else if (tensor.dtype == "F64")
    copy<double>(tensor, out.data());
  else
    fail("its \"" + name + "\" is not of floating point");
  for (double value : out)
    if (std::isnan(value) || (finite && std::isinf(value)))
      fail("its \"" + name + "\" has a number that is not finite");
  return out;
}

std::vector<int64_t> Tensors::integers(const std::string& name, int64_t rows) const {
  const Tensor& tensor = find(name);
  if (tensor.shape.size() != 2 || tensor.shape[0] != rows)
    fail("its \"" + name + "\" has shape " + shown(tensor.shape));
  std::vector<int64_t> out(tensor.count);
  if (tensor.dtype == "I32")
    copy<int32_t>(tensor, out.data());
  else if (tensor.dtype == "I64")
    copy<int64_t>(tensor, out.data());
  else
    fail("its \"" + name + "\" is not of whole numbers");
  return out;
}

int64_t Tensors::length(const std::string& name) const {
  const Tensor& tensor = find(name);
  return tensor.shape.empty() ? 0 : tensor.shape[0];
}

bool Tensors::any_ends_in(const std::string& end) const {
  for (const auto& each : tensors_) {
    const std::string& name = each.first;
    if (name.size() >= end.size() && !name.compare(name.size() - end.size(), end.size(), end)) return true;
  }
  return false;
}

const Tensors::Tensor& Tensors::find(const std::string& name) const {
  const auto tensor = tensors_.find(name);
  if (tensor == tensors_.end()) fail("has no tensor \"" + name + "\"");
  return tensor->second;
}

void Tensors::add(const std::string& name, const Json& entry, const char* data, uint64_t data_size) {
  Tensor tensor{entry.at("dtype", Json::string).text, {}, nullptr, 1};
  for (const Json& item : entry.at("shape", Json::array).items) {
    if (item.kind != Json::number || !(item.value >= 0 && item.value <= 1e9)) fail("its \"" + name + "\" has no shape");
    tensor.shape.push_back(static_cast<int64_t>(item.value));
    if (tensor.shape.back() > 0 && tensor.count > (int64_t(1) << 40) / tensor.shape.back())
      fail("its \"" + name + "\" is too large");
    tensor.count *= tensor.shape.back();
  }
  const auto& offsets = entry.at("data_offsets", Json::array).items;
  if (offsets.size() != 2 || offsets[0].kind != Json::number || offsets[1].kind != Json::number ||
      !(offsets[0].value >= 0 && offsets[0].value <= offsets[1].value &&
        offsets[1].value <= static_cast<double>(data_size)))
    fail("its \"" + name + "\" lies beyond its end: it is cut short, or damaged");
  const uint64_t first = static_cast<uint64_t>(offsets[0].value), last = static_cast<uint64_t>(offsets[1].value);
  const int bytes = size_of(tensor.dtype);
  if (bytes && last - first != static_cast<uint64_t>(tensor.count) * bytes)
    fail("its \"" + name + "\" has another size than its shape");
  tensor.data = data + first;
  tensors_.emplace(name, tensor);
}

}  // namespace equitensor
