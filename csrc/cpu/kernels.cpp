// The kernels, compiled for each instruction set in a namespace of its own and chosen when they are first called.

#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

// What is passed by value between functions must be inlined: a compiler may build the members of class templates for
// another instruction set than that of their region, with other registers for their arguments.
#define EQUITENSOR_INLINE __attribute__((always_inline)) inline
#define EQUITENSOR_APART __attribute__((noinline))  // scalar code that would be copied into every loop around it
#define EQUITENSOR_LAMBDA __attribute__((always_inline))

#define EQUITENSOR_TABLE                                                                  \
  template <class T>                                                                      \
  constexpr Kernels<T> table{edge_gather<T>,     edge_read<T>,                            \
                             edge_gradient<T>,   channel_product<T>,                      \
                             density_product<T>, density_product_along<T>,                \
                             degree_linear<T>,   degree_outer<T>,                         \
                             edge_geometry<T>,   edge_geometry_along<T>,                  \
                             uvu_values<T>,      uvu_gradients<T>,                        \
                             uvu_tangents<T>,    uuu_product<T>,                          \
                             uuu_product_along<T>, many_body<T>,                          \
                             many_body_along<T>, padded<T>,                               \
                             silu<T>,            silu_backward<T>,                        \
                             silu_second<T>};

namespace equitensor {

namespace baseline {
#define EQUITENSOR_BYTES 16
#include "all.inl"
#undef EQUITENSOR_BYTES
}  // namespace baseline

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define EQUITENSOR_BYTES 32
#include "all.inl"
#undef EQUITENSOR_BYTES
}  // namespace avx2
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma,prefer-vector-width=512")
#endif
namespace avx512 {
#define EQUITENSOR_BYTES 64
#include "all.inl"
#undef EQUITENSOR_BYTES
}  // namespace avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace {
const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}  // namespace

template <class T>
const Kernels<T>& kernels() {
  return has_avx512 ? avx512::table<T> : has_avx2 ? avx2::table<T> : baseline::table<T>;
}

const char* instruction_set() { return has_avx512 ? "AVX-512" : has_avx2 ? "AVX2" : "SSE2"; }

#else

template <class T>
const Kernels<T>& kernels() {
  return baseline::table<T>;
}

const char* instruction_set() { return "128-bit vectors"; }

#endif

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

}  // namespace equitensor
