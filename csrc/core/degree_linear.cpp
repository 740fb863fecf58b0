// One matrix per degree on the channels of features.

#include "layers.h"

using namespace equitensor;

int equitensor_degree_linear(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out, int64_t turned,
                             const void* x, const void* weight, void* y, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const Layers<T> layers{threads};
    if (turned)
      layers.linear_back(items, degrees, in, out, from<T>(x), from<T>(weight), into<T>(y));
    else
      layers.linear(items, degrees, in, out, from<T>(x), from<T>(weight), into<T>(y));
  });
}

int equitensor_degree_outer(int precision, int64_t items, int64_t degrees, int64_t in, int64_t out, const void* x,
                            const void* g, void* sum, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    Layers<T>{threads}.outer(items, degrees, in, out, from<T>(x), from<T>(g), into<T>(sum));
  });
}
