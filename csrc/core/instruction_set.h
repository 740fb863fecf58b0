// What the kernels of every instruction set are compiled with; their code is all.inl, in a namespace for each set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

// What is passed by value between functions must be inlined: a compiler may build the members of class templates for
// another instruction set than that of their region, with other registers for their arguments.
#define EQUITENSOR_INLINE __attribute__((always_inline)) inline
#define EQUITENSOR_APART __attribute__((noinline))  // scalar code that would be copied into every loop around it
#define EQUITENSOR_LAMBDA __attribute__((always_inline))

// The kernels of a region belong to its instruction set, what the standard library's templates make here does not: with
// flags for the whole file, a linker could take such a function for all of the library, and processors that lack the set
// would meet it.
#if defined(__clang__)
#define EQUITENSOR_PRAGMA(text) _Pragma(#text)
#define EQUITENSOR_BEGIN(set) EQUITENSOR_PRAGMA(clang attribute push(__attribute__((target(set))), apply_to = function))
#define EQUITENSOR_END _Pragma("clang attribute pop")
#else
#define EQUITENSOR_PRAGMA(text) _Pragma(#text)
#define EQUITENSOR_BEGIN(set) _Pragma("GCC push_options") EQUITENSOR_PRAGMA(GCC target(set))
#define EQUITENSOR_END _Pragma("GCC pop_options")
#endif
