#include <cmath>
#include <cstdint>
#include <algorithm>
#include <type_traits>
#include <utility>

#include "gaunt_tables.h"
#include "system.h"
#include "zbl.h"

#define EQUITENSOR_SET baseline
#if defined(__x86_64__)
#define EQUITENSOR_NAME "SSE2"
#else
#define EQUITENSOR_NAME "128-bit vectors"
#endif
#define EQUITENSOR_BYTES 16
#if defined(__aarch64__)
#define EQUITENSOR_REGISTERS 32
#else
#define EQUITENSOR_REGISTERS 16
#endif

namespace equitensor {
namespace baseline {
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
}  // namespace baseline
}  // namespace equitensor
