// The kernels for AVX-512.

#include "instruction_set.h"

#if defined(__x86_64__)

namespace equitensor {

#if defined(__clang__)
EQUITENSOR_BEGIN("avx512f,avx512dq,avx2,fma")
#else
EQUITENSOR_BEGIN("avx512f,avx512dq,avx2,fma,prefer-vector-width=512")
#endif
namespace kernel_avx512 {
#define EQUITENSOR_BYTES 64
#include "all.inl"
}  // namespace kernel_avx512
EQUITENSOR_END

template <class T>
const Kernels<T>& avx512_kernels() {
  return kernel_avx512::table<T>;
}
template const Kernels<float>& avx512_kernels<float>();
template const Kernels<double>& avx512_kernels<double>();

}  // namespace equitensor

#endif
