// Harmonics and radial functions of edge vectors, and their derivatives.

#include "call.h"

using namespace equitensor;

namespace {

EdgeGeometry geometry(int64_t num_radial, int64_t lmax, int64_t entries, double cutoff, const int32_t* index,
                      const double* coefficients) {
  EdgeGeometry e{(lmax + 1) * (lmax + 1), num_radial, cutoff, {}};
  for (int64_t t = 0; t < entries; t++) {
    const int32_t out = index[t], in = index[entries + t], axis = index[2 * entries + t];
    require(0 <= in && in < out && out < e.components && 0 <= axis && axis < 3, "edge_geometry: the index holds ", out,
            ", ", in, ", ", axis, ", beyond degree ", lmax);
    e.raising.push_back({out, in, axis, coefficients[t]});
  }
  return e;
}

}  // namespace

int equitensor_edge_geometry(int precision, int64_t edges, int64_t num_radial, int64_t lmax, int64_t entries,
                             double cutoff, const void* vectors, const void* h, const void* g_harmonics,
                             const void* g_functions, const void* g_radial, const int32_t* index,
                             const double* coefficients, void* harmonics, void* functions, void* radial, void* dvectors,
                             int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const EdgeGeometry e = geometry(num_radial, lmax, entries, cutoff, index, coefficients);
    const GeometryArrays<T> at{from<T>(vectors),     from<T>(h),        from<T>(g_harmonics),
                               from<T>(g_functions), from<T>(g_radial), into<T>(harmonics),
                               into<T>(functions),   into<T>(radial),   into<T>(dvectors)};
    const auto kernel = h ? kernels<T>().edge_geometry_tangents : kernels<T>().edge_geometry;
    parallel_for(edges, items_per_task(8 * (entries + 8 * num_radial)), threads,
                 [&](int64_t first, int64_t last) { kernel(e, first, last, at); });
  });
}
