// What an evaluation computes with: a model's weights, matrices that follow each other multiplied into one, in the
// precision of the evaluation and padded to whole registers.
//
// With x0 = silu(U b(d) + s_zj + t_zi + bias) of an edge and a_q what update q puts through its silu, every message is
// W x0 + sum_q O_q a_q: all that is made of messages is one matrix times the edge's state [x0 | a_0 | a_1 ...].
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "model.h"

namespace equitensor {

constexpr int PAD_BYTES = 64;  // the widest register
constexpr size_t HUGE_PAGE = size_t(2) << 20;

template <class T, class Count>
constexpr Count padded(Count n) {
  constexpr int width = PAD_BYTES / sizeof(T);
  return (n + width - 1) / width * width;
}

// Zeros at first, aligned to the widest register.
template <class T>
class Aligned {
 public:
  Aligned() = default;
  explicit Aligned(size_t count) { grow(count); }
  Aligned(Aligned&& other) noexcept : data_(other.data_), count_(other.count_) {
    other.data_ = nullptr, other.count_ = 0;
  }
  Aligned& operator=(Aligned&& other) noexcept {
    std::swap(data_, other.data_), std::swap(count_, other.count_);
    return *this;
  }
  ~Aligned() { std::free(data_); }
  T* data() const { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data_[i]; }

  // At least this many elements; what was there is lost.
  void grow(size_t count) {
    if (count <= count_) return;
    std::free(data_);
    data_ = nullptr, count_ = 0;
    const size_t page = count * sizeof(T) < HUGE_PAGE ? 4096 : HUGE_PAGE,
                 bytes = (count * sizeof(T) + page - 1) / page * page;
    data_ = static_cast<T*>(std::aligned_alloc(page, bytes));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (page == HUGE_PAGE) madvise(data_, bytes, MADV_HUGEPAGE);  // fewer pages to look up; a refusal changes nothing
#endif
    for (size_t i = 0; i < bytes / sizeof(T); i++) data_[i] = T{};
    count_ = count;
  }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

// Columns of the radial functions, `enveloped` or not; all segments lie side by side.
struct Segment {
  int offset = 0, width = 0;
  bool enveloped = true;
};

// z_out = sum over groups of (w_path) x_first sum over entries of coefficient y_second, by out.
template <class T>
struct Coupled {
  struct Group {
    int32_t first, end, path;
  };
  struct Entry {
    T coefficient;
    int32_t second;
  };
  std::vector<int32_t> row;  // groups before each out, and in all
  std::vector<Group> groups;
  std::vector<Entry> entries;
};

// Quintic splines of `width` functions over 0 .. cutoff, twice continuously differentiable. For the interval after
// each knot and every chunk of a register's width: the coefficients of t^0 .. t^5, where t rises from 0 to 1. An eighth
// of the knots of cubic ones is enough.
struct Spline {
  int knots = 0, width = 0;
  Aligned<float> data;
};
// Values, first and second derivatives (3, n, width) at n distances.
using Functions = std::function<void(int, const double*, double*)>;
constexpr int SPLINE_ROWS = 6;

// Through these functions, with at least so many knots and as many as float32 deserves.
Spline spline(int width, double cutoff, int knots, const Functions& functions);

// c (rows, columns) = a (rows, inner) b (inner, columns), with columns a multiple of 8: of an instruction set.
using MatrixProduct = void (*)(int64_t rows, int64_t columns, int64_t inner, const double* a, const double* b,
                               double* c);

// a (rows, inner) b (inner, columns).
Array multiply(const Array& a, const Array& b, int rows, int inner, int columns);

// b_n(d) and its first two derivatives, then those of u(d) b_n(d): 6 x num.
void bessel_functions(double d, double cutoff, int num, double* out);

// (sender, receiver, c): what the elements of a pair and the bias put into the first messages.
Array pair_constants(const Model& model);

template <class T>
struct Product {
  Aligned<T> coefficients;  // (elements, order, degrees or 1, C)
  Aligned<T> paths;         // (paths, C) or empty
};

template <class T>
struct DensityMatrices {
  Segment radial;
  Aligned<T> message, message_t;  // ((r + 1) c, G) and its transpose
  Aligned<T> mix, mix_t;          // (L+1, G, C), (L+1, C, G)
};

template <class T>
struct UpdateMatrices {
  Segment radial;
  Aligned<T> message, message_t;  // ((q + 1) c, c) and its transpose
  Aligned<T> angular, angular_t;  // (L+1, C, c), (L+1, c, C)
  Aligned<T> scalars, scalars_t, bias, energy;
};

template <class T>
struct Network {
  // Sizes of the model; those padded end in p.
  int L, D, Dp, C, Cp, c, cp, G, Gp, R, layers, order, paths, elements;
  double cutoff, shift;
  double usual_crowding;  // of atoms, by which densities are normalised; 0 where they are sums
  bool zbl;
  std::vector<double> begins;  // (sender, receiver): distances below which pairs repel and are seen at rest; or empty
  std::vector<int32_t> z;
  std::vector<double> e0s;

  int radial_width;  // of all segments
  Segment embedding;
  std::vector<DensityMatrices<T>> densities;
  std::vector<UpdateMatrices<T>> updates;
  Aligned<T> pair;  // (sender, receiver, c): constants of the first messages

  // The radial functions: matrices (R, width) on the Bessel functions, and, in single precision, splines through what
  // `functions` gives.
  Aligned<T> radial;
  Functions functions;
  Spline spline;

  std::vector<double> diagonal, alpha, beta;  // of the harmonics' recursion, (L+1), (L+1, L+1) by l, m

  Coupled<T> coupled[3];  // into x, into y, into z
  bool symmetric;
  int gaunt;  // L where the coupling is the Gaunt tensor of degree L that products are unrolled for, else 0
  std::vector<Product<T>> products;
  Product<T> invariants;
  Aligned<T> head, head_t, head_out, mix;  // mix times head; head_out; mix for the features
};

template <class T>
Network<T> fold(const Model& model);

}  // namespace equitensor
