// z_k = sum of T x_i y_j over a sparse tensor, channel by channel.

#include "product_plan.h"

using namespace equitensor;

int equitensor_channel_product(int precision, int64_t items, int64_t channels, int64_t slot, int64_t size0,
                               int64_t size1, int64_t size2, int64_t entries, const void* x, const void* y,
                               const int32_t* index, const double* coefficients, void* z, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    require(0 <= slot && slot < 3, "channel_product: slot is ", slot, ", expected 0, 1 or 2");
    const auto made = plan<T>(index, coefficients, entries, {size0, size1, size2}, slot);
    parallel_for(items, items_per_task(entries * channels), threads, [&](int64_t first, int64_t last) {
      kernels<T>().channel_product(made, first, last, channels, from<T>(x), from<T>(y), into<T>(z));
    });
  });
}
