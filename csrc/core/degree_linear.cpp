// One matrix per degree on the channels of features.

#include "call.h"

using namespace equitensor;

int equitensor_degree_linear(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out, int64_t turned,
                             const void* x, const void* weight, void* y, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    parallel_for(items, items_per_task(degrees * degrees * in * out), threads, [&](int64_t first, int64_t last) {
      kernels<T>().degree_linear(first, last, degrees, in, out, from<T>(x), from<T>(weight), turned != 0, into<T>(y));
    });
  });
}

int equitensor_degree_outer(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out, const void* x,
                            const void* g, void* sum, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const std::array<Total<T>, 1> total{{{into<T>(sum), degrees * in * out}}};
    add_in_order(items, degrees * degrees * in * out, threads, total, [&](int64_t first, int64_t last, const auto& at) {
      kernels<T>().degree_outer(first, last, degrees, in, out, from<T>(x), from<T>(g), at[0]);
    });
  });
}
