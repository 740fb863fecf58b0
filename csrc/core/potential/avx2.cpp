#include <cmath>
#include <cstdint>
#include <algorithm>
#include <type_traits>
#include <utility>

#include "gaunt_tables.h"
#include "system.h"
#include "zbl.h"

#define EQUITENSOR_SET avx2
#define EQUITENSOR_NAME "AVX2"
#define EQUITENSOR_BYTES 32
#define EQUITENSOR_REGISTERS 16

namespace equitensor {
namespace avx2 {
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
}  // namespace avx2
}  // namespace equitensor
