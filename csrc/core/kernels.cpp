// The kernels in vectors of 128 bits, which every processor has, and the choice between them and wider ones.

#include "instruction_set.h"

namespace equitensor {

namespace kernel_baseline {
#define EQUITENSOR_BYTES 16
#include "all.inl"
}  // namespace kernel_baseline

#if defined(__x86_64__)

namespace {

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() { return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"); }

}  // namespace

template <class T>
const Kernels<T>& kernels() {
  static const Kernels<T>& chosen = has_avx512() ? avx512_kernels<T>()
                                    : has_avx2() ? avx2_kernels<T>()
                                                 : kernel_baseline::table<T>;
  return chosen;
}

const char* instruction_set() { return has_avx512() ? "AVX-512" : has_avx2() ? "AVX2" : "SSE2"; }

#else

template <class T>
const Kernels<T>& kernels() {
  return kernel_baseline::table<T>;
}

const char* instruction_set() { return "128-bit vectors"; }

#endif

template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

}  // namespace equitensor
