// A sparse tensor of a product as the kernels take it.
#pragma once

#include "call.h"

namespace equitensor {

constexpr int OPERANDS[3][2] = {{1, 2}, {0, 2}, {0, 1}};  // the slots of a product that lead to each slot

// The entries of one slot: index (3, 4, count) holds, for each slot, result, first and second operand, path, sorted by
// result, first operand and path.
template <class T>
ProductPlan<T> plan(const int32_t* index, const double* coefficients, int64_t count,
                    const std::array<int64_t, 3>& sizes, int64_t slot) {
  const int32_t* out = index + slot * 4 * count;
  const int32_t *first = out + count, *second = first + count, *path = second + count;
  const double* value = coefficients + slot * count;
  ProductPlan<T> made{sizes[slot], sizes[OPERANDS[slot][0]], sizes[OPERANDS[slot][1]], {}, {}, {}};
  const auto within = [](int32_t number, int64_t size) { return 0 <= number && number < size; };
  made.row.assign(made.size_out + 1, 0);
  made.entries.reserve(count);
  for (int64_t t = 0; t < count; t++) {
    require(within(out[t], made.size_out) && within(first[t], made.size_first) && within(second[t], made.size_second) &&
                path[t] >= 0,
            "a product's index is beyond its sizes");
    require(t == 0 || out[t] >= out[t - 1], "a product's index is not sorted");
    if (t == 0 || out[t] != out[t - 1] || first[t] != first[t - 1] || path[t] != path[t - 1])
      made.groups.push_back({first[t], 0, path[t]});
    made.entries.push_back({static_cast<T>(value[t]), second[t]});
    made.groups.back().end = static_cast<int32_t>(t + 1);
    made.row[out[t] + 1] = static_cast<int32_t>(made.groups.size());
  }
  for (int64_t k = 0; k < made.size_out; k++) made.row[k + 1] = std::max(made.row[k], made.row[k + 1]);
  return made;
}

}  // namespace equitensor
