// silu with fused first and second derivatives.

#include "call.h"

using namespace equitensor;

namespace {

constexpr int64_t NUMBERS_PER_TASK = 1 << 15;

}  // namespace

int equitensor_silu(int precision, int64_t count, const void* x, void* y, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    parallel_for(count, NUMBERS_PER_TASK, threads,
                 [&](int64_t i, int64_t end) { kernels<T>().silu(end - i, from<T>(x) + i, into<T>(y) + i); });
  });
}

int equitensor_silu_backward(int precision, int64_t count, const void* x, const void* g, void* dx, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    parallel_for(count, NUMBERS_PER_TASK, threads, [&](int64_t i, int64_t end) {
      kernels<T>().silu_backward(end - i, from<T>(x) + i, from<T>(g) + i, into<T>(dx) + i);
    });
  });
}

int equitensor_silu_second(int precision, int64_t count, const void* x, const void* g, const void* h, void* dg,
                           void* dx, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    parallel_for(count, NUMBERS_PER_TASK, threads, [&](int64_t i, int64_t end) {
      kernels<T>().silu_second(end - i, from<T>(x) + i, from<T>(g) + i, from<T>(h) + i, into<T>(dg) + i,
                               into<T>(dx) + i);
    });
  });
}
