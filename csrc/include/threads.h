// What a kernel needs of CUDA, under NVRTC as on the host: see host_threads.h.
#pragma once

#ifdef __CUDACC_RTC__
#define EQUITENSOR_DEVICE __device__ __forceinline__
#define EQUITENSOR_TABLE __device__ const
#define EQUITENSOR_NO_UNROLL _Pragma("unroll 1")
using Index = long long;
#else
#include "host_threads.h"
#endif
