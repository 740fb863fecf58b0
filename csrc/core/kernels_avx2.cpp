// The kernels for AVX2.

#include "instruction_set.h"

#if defined(__x86_64__)

namespace equitensor {

EQUITENSOR_BEGIN("avx2,fma")
namespace kernel_avx2 {
#define EQUITENSOR_BYTES 32
#include "all.inl"
}  // namespace kernel_avx2
EQUITENSOR_END

template <class T>
const Kernels<T>& avx2_kernels() {
  return kernel_avx2::table<T>;
}
template const Kernels<float>& avx2_kernels<float>();
template const Kernels<double>& avx2_kernels<double>();

}  // namespace equitensor

#endif
