// Functions of equitensor.h one after another in one call, on arrays in one precision.
#pragma once

#include "call.h"

namespace equitensor {

// Passes on the failure of one of them.
inline void done(int code) {
  if (code != EQUITENSOR_OK) throw PassedOn{code};
}

template <class T>
struct Layers {
  int threads;
  static constexpr int precision = sizeof(T) == sizeof(float) ? EQUITENSOR_FLOAT32 : EQUITENSOR_FLOAT64;

  // y = x W by degree, or y += x W, and its gradients. A result that is null is not computed.
  void linear(int64_t items, int64_t degrees, int64_t in, int64_t out, const T* x, const T* weight, T* y,
              bool add = false) const {
    mix(items, degrees, in, out, x, weight, false, add, y);
  }
  void linear_back(int64_t items, int64_t degrees, int64_t in, int64_t out, const T* g, const T* weight, T* dx,
                   bool add = false) const {
    mix(items, degrees, in, out, g, weight, true, add, dx);
  }
  // By W; zero of a tangent that is null.
  void outer(int64_t items, int64_t degrees, int64_t in, int64_t out, const T* x, const T* g, T* sum) const {
    if (!x || !sum) return clear(sum, degrees * in * out);
    const std::array<Total<T>, 1> total{{{sum, degrees * in * out}}};
    add_in_order(items, degrees * degrees * in * out, threads, total, [&](int64_t first, int64_t last, const auto& at) {
      kernels<T>().degree_outer(first, last, degrees, in, out, x, g, at[0]);
    });
  }

  // to += x, where there is an x.
  void add(int64_t count, const T* x, T* to) const {
    if (!x) return;
    parallel_for(count, 1 << 15, threads, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) to[i] += x[i];
    });
  }

 private:
  void mix(int64_t items, int64_t degrees, int64_t in, int64_t out, const T* x, const T* weight, bool turned, bool add,
           T* y) const {
    if (!y) return;
    parallel_for(items, items_per_task(degrees * degrees * in * out), threads, [&](int64_t first, int64_t last) {
      kernels<T>().degree_linear(first, last, degrees, in, out, x, weight, turned, add, y);
    });
  }
};

// The sum of the rows start[i] .. start[i + 1] of each atom.
template <class T>
void sum_over_slots(int64_t atoms, const int64_t* start, int64_t channels, const T* rows, T* sums) {
  for (int64_t i = 0; i < atoms; i++) {
    T* sum = sums + i * channels;
    std::fill(sum, sum + channels, T(0));
    for (int64_t slot = start[i]; slot < start[i + 1]; slot++)
      for (int64_t c = 0; c < channels; c++) sum[c] += rows[slot * channels + c];
  }
}

// The sum of all rows, unless it is null.
template <class T>
void sum_of_rows(int64_t rows, int64_t channels, const T* x, T* sum) {
  clear(sum, channels);
  for (int64_t i = 0; sum && i < rows; i++)
    for (int64_t c = 0; c < channels; c++) sum[c] += x[i * channels + c];
}

// The first of `components` rows of each item.
template <class T>
void take_scalars(int64_t items, int64_t components, int64_t channels, const T* features, T* scalars) {
  for (int64_t i = 0; i < items; i++)
    std::copy_n(features + i * components * channels, channels, scalars + i * channels);
}

// Consecutive parts of one array; null if that is null.
template <class T>
class Consecutive {
 public:
  explicit Consecutive(T* start) : next_(start) {}
  T* take(int64_t count) {
    T* start = next_;
    if (next_) next_ += count;
    return start;
  }

 private:
  T* next_;
};

}  // namespace equitensor
