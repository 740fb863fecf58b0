// Work cut for threads: OpenMP where the library was built with it, else one thread. How many threads is an argument.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>

namespace equitensor {

// body(first, last) over ranges that cover 0 .. items, none of them shorter than `least` but the last. What one throws
// is thrown here, once all have ended.
template <class F>
void parallel_for(int64_t items, int64_t least, int threads, const F& body) {
  if (items <= 0) return;
  const int64_t most = (items + least - 1) / least;
  const int64_t count = std::max<int64_t>(1, std::min<int64_t>(threads, most)), each = (items + count - 1) / count;
  if (count == 1) return body(int64_t(0), items);
  std::exception_ptr error;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static, 1) num_threads(static_cast<int>(count))
#endif
  for (int64_t range = 0; range < count; range++) {
    const int64_t first = range * each, last = std::min(items, first + each);
    if (first >= last) continue;
    try {
      body(first, last);
    } catch (...) {
#if defined(_OPENMP)
#pragma omp critical(equitensor_error)
#endif
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace equitensor
