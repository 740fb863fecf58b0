// What the operators share: their types, how one calls another, how work is cut for threads.
#pragma once

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/library.h>

#include "../cpu/kernels.h"

namespace equitensor {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Maybe = std::optional<Tensor>;

constexpr int64_t OPERATIONS_PER_TASK = 1 << 18;  // a thread is not worth waking for less
constexpr int OPERANDS[3][2] = {{1, 2}, {0, 2}, {0, 1}};  // the slots of a product that lead to each slot

inline int64_t items_per_task(int64_t operations_each) {
  return std::max<int64_t>(1, OPERATIONS_PER_TASK / std::max<int64_t>(1, operations_each));
}

// The operator of that name, typed by its CPU implementation.
template <class F>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<F>();
}

inline Maybe maybe(const Tensor& x) { return x.defined() ? Maybe(x) : std::nullopt; }
inline Maybe contiguous(const Maybe& x) { return x && x->defined() ? Maybe(x->contiguous()) : std::nullopt; }
inline Tensor like(const Tensor& x) { return at::empty_like(x, at::MemoryFormat::Contiguous); }

// Parts of a result that are not wanted have no elements; autograd is given no tensor for them.
inline Tensor room(const Tensor& x, bool wanted) { return wanted ? like(x) : x.new_empty({0}); }
inline Tensor given(const Tensor& x, bool wanted) { return wanted ? x : Tensor(); }

template <class T>
const T* data(const Maybe& x) {
  return x ? x->const_data_ptr<T>() : nullptr;
}
template <class T>
T* space(const Tensor& x, bool wanted = true) {
  return wanted ? x.mutable_data_ptr<T>() : nullptr;
}

// Runs body(first, last, totals) over ranges of `items` that cover them; what the ranges add to their totals is added up
// in their order, so that a number of threads always gives the same sums. Totals without elements are passed as they are.
template <class F>
void add_in_order(int64_t items, int64_t operations_each, const std::vector<Tensor>& totals, const F& body) {
  const int64_t ranges =
      std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), items / items_per_task(operations_each)));
  std::vector<std::vector<Tensor>> own(ranges, totals);
  for (int64_t r = 1; r < ranges; r++)
    for (Tensor& part : own[r]) part = at::zeros_like(part);
  at::parallel_for(0, ranges, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) body(items * r / ranges, items * (r + 1) / ranges, own[r]);
  });
  at::AutoDispatchBelowADInplaceOrView guard;
  for (int64_t r = 1; r < ranges; r++)
    for (size_t k = 0; k < totals.size(); k++) own[0][k].add_(own[r][k]);
}

// The entries of one slot: index (3, 4, T) int32 holds, for each slot, result, first and second operand, path, sorted by
// result, first operand and path.
template <class T>
ProductPlan<T> plan(const Tensor& index, const Tensor& coefficients, at::IntArrayRef sizes, int64_t slot) {
  TORCH_CHECK(index.scalar_type() == at::kInt && coefficients.scalar_type() == at::kDouble && index.is_contiguous() &&
                  coefficients.is_contiguous() && index.dim() == 3 && index.size(0) == 3 && index.size(1) == 4 &&
                  coefficients.dim() == 2 && coefficients.size(1) == index.size(2),
              "a product needs index (3, 4, t) int32 and coefficients (3, t) float64, got ", index.sizes(), " ",
              index.scalar_type(), " and ", coefficients.sizes(), " ", coefficients.scalar_type());
  const int64_t count = index.size(2);
  const int32_t* out = index.const_data_ptr<int32_t>() + slot * 4 * count;
  const int32_t *first = out + count, *second = first + count, *path = second + count;
  const double* value = coefficients.const_data_ptr<double>() + slot * count;
  ProductPlan<T> made{sizes[slot], sizes[OPERANDS[slot][0]], sizes[OPERANDS[slot][1]], {}, {}, {}};
  made.row.assign(made.size_out + 1, 0);
  made.entries.reserve(count);
  for (int64_t t = 0; t < count; t++) {
    TORCH_CHECK(out[t] < made.size_out && first[t] < made.size_first && second[t] < made.size_second,
                "a product's index is beyond its sizes");
    if (t == 0 || out[t] != out[t - 1] || first[t] != first[t - 1] || path[t] != path[t - 1])
      made.groups.push_back({first[t], 0, path[t]});
    made.entries.push_back({static_cast<T>(value[t]), second[t]});
    made.groups.back().end = t + 1;
    made.row[out[t] + 1] = made.groups.size();
  }
  for (int64_t k = 0; k < made.size_out; k++) made.row[k + 1] = std::max(made.row[k], made.row[k + 1]);
  return made;
}

}  // namespace equitensor
