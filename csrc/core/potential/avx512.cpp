#include <cmath>
#include <cstdint>
#include <algorithm>
#include <type_traits>
#include <utility>

#include "gaunt_tables.h"
#include "system.h"
#include "zbl.h"

#define EQUITENSOR_SET avx512
#define EQUITENSOR_NAME "AVX-512"
#define EQUITENSOR_BYTES 64
#define EQUITENSOR_REGISTERS 32

namespace equitensor {
namespace avx512 {
#include "registers.inl"
#include "product.inl"
#include "engine.inl"
#include "geometry.inl"
#include "crowding.inl"
#include "repulsion.inl"
#include "messages.inl"
#include "stages.inl"
#include "paired.inl"
#include "run.inl"
}  // namespace avx512
}  // namespace equitensor
