// Weighted powers of atomic densities, as features or invariants, and their derivatives.

#include "product_plan.h"

using namespace equitensor;

int equitensor_density_product(int precision, int64_t atoms, int64_t components, int64_t channels, int64_t elements,
                               int64_t order, int64_t degrees, int64_t paths, int64_t entries, int64_t invariants,
                               int64_t symmetric, int64_t tangents, const void* x, const void* weight, const void* mix,
                               const void* g, const void* h_x, const void* h_weight, const void* h_mix,
                               const int64_t* species, const int32_t* index, const double* coefficients, void* out,
                               void* dx, void* dweight, void* dmix, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    for (int64_t i = 0; i < atoms; i++)
      require(0 <= species[i] && species[i] < elements, "density_product: species ", species[i], " is beyond the ",
              elements, " elements of weight");
    DensityProduct<T> d{components,      channels,       order, degrees, mix ? paths : 0,
                        invariants != 0, symmetric != 0, {},    {},      species};
    for (int slot = 0; slot < 3; slot++)
      d.plans[slot] = plan<T>(index, coefficients, entries, {components, components, components}, slot);
    for (const Group& group : d.plans[2].groups)
      require(!mix || group.path < paths, "density_product: mix has fewer than ", group.path + 1, " paths");
    for (int64_t l = 0; l * l < components; l++) d.degree.insert(d.degree.end(), 2 * l + 1, l);
    const bool gradients = dx || dweight || dmix;
    const int64_t operations = entries * channels * order * (gradients ? 4 : 1);
    const std::array<Total<T>, 2> totals{
        {{into<T>(dweight), elements * order * degrees * channels}, {into<T>(dmix), paths * channels}}};
    const auto kernel = tangents ? kernels<T>().density_product_tangents : kernels<T>().density_product;
    add_in_order(atoms, operations, threads, totals, [&](int64_t first, int64_t last, const auto& sums) {
      const DensityArrays<T> at{from<T>(x),   from<T>(weight),   from<T>(mix),   from<T>(g),
                                from<T>(h_x), from<T>(h_weight), from<T>(h_mix), into<T>(out),
                                into<T>(dx),  sums[0],           sums[1]};
      kernel(d, first, last, at);
    });
  });
}
