#include "pairs.h"

#include <algorithm>
#include <cmath>

#include "network.h"

namespace equitensor {
namespace {
constexpr size_t MOST_BYTES = size_t(48) << 20;  // beyond it the caches are of no help, and evaluating anew is as quick

int eights(int n) { return (n + 7) / 8 * 8; }

// (stack, rows, columns) with columns padded by zeros to a multiple of 8.
Array widened(const Array& a, int columns) {
  const int wide = eights(columns);
  const size_t rows = a.size() / columns;
  Array out(rows * wide, 0.0);
  for (size_t i = 0; i < rows; i++) std::copy_n(a.data() + i * columns, columns, out.data() + i * wide);
  return out;
}
}  // namespace

// The functions themselves, in double precision, at many distances at once: arrays (n, channels), each with its derivative.
struct PairTables::Functions {
  int c, C, G, R, degrees, Cp, cp, Gp, elements;
  double cutoff;
  MatrixProduct product;
  Array radial, pair;                // of x0: (R, c); (sender, receiver, c)
  Array first, message, second;      // x0 to the first density, the update and the second density: (c, G), (c, c), (c, G)
  Array first_radial, second_radial; // (R, G)
  Array mix;                         // (L+1, G, C)

  Functions(const Model& m, MatrixProduct product)
      : c(m.edge_channels), C(m.channels), G(m.gathered), R(m.num_radial), degrees(m.lmax + 1), Cp(padded<float>(C)),
        cp(padded<float>(c)), Gp(padded<float>(G)), elements(m.num_elements()), cutoff(m.cutoff), product(product), radial(m.radial) {
    pair = pair_constants(m);
    first = widened(multiply(m.out, m.densities[0].message, c, c, G), G);
    message = widened(multiply(m.out, m.updates[0].message, c, c, c), c);
    second = widened(multiply(m.out, m.densities[1].message, c, c, G), G);
    first_radial = m.densities[0].radial, second_radial = m.densities[1].radial;
    mix = widened(m.densities[0].mix, C);
  }

  struct Pair {
    Array value, derivative;
    explicit Pair(size_t size = 0) : value(size, 0.0), derivative(size, 0.0) {}
  };

  Pair times(int n, int inner, const Pair& x, const double* matrix, int columns) const {
    Pair out(size_t(n) * eights(columns));
    product(n, eights(columns), inner, x.value.data(), matrix, out.value.data());
    product(n, eights(columns), inner, x.derivative.data(), matrix, out.derivative.data());
    return out;
  }

  Array bessel(int n, const double* d) const {
    Array b(size_t(n) * 4 * R);
    for (int k = 0; k < n; k++) bessel_functions(d[k], cutoff, R, b.data() + size_t(k) * 4 * R);
    return b;
  }

  // x0 = silu(U b(d) + constants)
  Pair embed(int n, const Array& b, int sender, int receiver) const {
    Pair x(size_t(n) * c);
    const double* constant = pair.data() + (size_t(sender) * elements + receiver) * c;
    for (int k = 0; k < n; k++)
      for (int j = 0; j < c; j++) {
        double h = constant[j], dh = 0;
        const double* own = b.data() + size_t(k) * 4 * R;
        for (int i = 0; i < R; i++) h += own[i] * radial[size_t(i) * c + j], dh += own[R + i] * radial[size_t(i) * c + j];
        const double p = 1 / (1 + std::exp(-h));
        x.value[size_t(k) * c + j] = h * p, x.derivative[size_t(k) * c + j] = p * (1 + h * (1 - p)) * dh;
      }
    return x;
  }

  // R(d) times x V
  Pair carried(int n, const Array& b, const Pair& x, const Array& V, const Array& radial_matrix) const {
    Pair m = times(n, c, x, V.data(), G), p(size_t(n) * G);
    const int wide = eights(G);
    for (int k = 0; k < n; k++)
      for (int g = 0; g < G; g++) {
        double r = 0, dr = 0;
        const double* own = b.data() + size_t(k) * 4 * R + 2 * R;
        for (int i = 0; i < R; i++) r += own[i] * radial_matrix[size_t(i) * G + g], dr += own[R + i] * radial_matrix[size_t(i) * G + g];
        const double value = m.value[size_t(k) * wide + g];
        p.value[size_t(k) * G + g] = r * value;
        p.derivative[size_t(k) * G + g] = r * m.derivative[size_t(k) * wide + g] + dr * value;
      }
    return p;
  }

  // `columns` of each row of `from` to rows of `width`, from `first` on.
  static void place(int n, const Array& from, int from_width, int columns, int first, int width, double* to) {
    for (int k = 0; k < n; k++) std::copy_n(from.data() + size_t(k) * from_width, columns, to + size_t(k) * width + first);
  }

  Spline density(int sender, int receiver, int knots) const {
    const int width = degrees * Cp;
    return spline(width, cutoff, knots, [=](int n, const double* d, double* values, double* derivatives) {
      const Array b = bessel(n, d);
      const Pair p = carried(n, b, embed(n, b, sender, receiver), first, first_radial);
      std::fill_n(values, size_t(n) * width, 0.0), std::fill_n(derivatives, size_t(n) * width, 0.0);
      for (int l = 0; l < degrees; l++) {
        const Pair f = times(n, G, p, mix.data() + size_t(l) * G * eights(C), C);
        place(n, f.value, eights(C), C, l * Cp, width, values);
        place(n, f.derivative, eights(C), C, l * Cp, width, derivatives);
      }
    });
  }

  Spline messages(int sender, int receiver, int knots) const {
    const int width = cp + Gp;
    return spline(width, cutoff, knots, [=](int n, const double* d, double* values, double* derivatives) {
      const Array b = bessel(n, d);
      const Pair x = embed(n, b, sender, receiver), p = carried(n, b, x, second, second_radial), m = times(n, c, x, message.data(), c);
      std::fill_n(values, size_t(n) * width, 0.0), std::fill_n(derivatives, size_t(n) * width, 0.0);
      place(n, m.value, eights(c), c, 0, width, values);
      place(n, m.derivative, eights(c), c, 0, width, derivatives);
      place(n, p.value, G, G, cp, width, values);
      place(n, p.derivative, G, G, cp, width, derivatives);
    });
  }
};

PairTables::PairTables(const Model& model, MatrixProduct product) {
  if (model.layers != 2 || model.lmax > 4) return;
  functions_ = std::make_shared<const Functions>(model, product);
  const size_t pairs = size_t(model.num_elements()) * model.num_elements();
  splines_.density.resize(pairs), splines_.messages.resize(pairs);
}

const PairSplines* PairTables::of(const std::vector<int32_t>& species, Spline& common) {
  if (!functions_) return nullptr;
  const Functions& f = *functions_;
  std::vector<bool> present(f.elements, false);
  for (int32_t kind : species)
    if (kind >= 0) present[kind] = true;
  const size_t kinds = std::count(present.begin(), present.end(), true);
  int knots = std::max(common.knots, 1);
  for (bool finer = true; finer;) {  // all with the knots of the one that needs most
    finer = false;
    if (kinds * kinds * (knots + 1) * 3 * (f.degrees * f.Cp + f.cp + f.Gp) * sizeof(float) > MOST_BYTES) return nullptr;
    for (int j = 0; j < f.elements; j++)
      for (int i = 0; i < f.elements; i++) {
        if (!present[j] || !present[i]) continue;
        Spline &density = splines_.density[j * f.elements + i], &messages = splines_.messages[j * f.elements + i];
        if (density.knots < knots) density = f.density(j, i, knots);
        if (messages.knots < knots) messages = f.messages(j, i, knots);
        const int most = std::max(density.knots, messages.knots);
        if (most > knots) knots = most, finer = true;
      }
  }
  if (common.knots < knots) common = common.remade(knots);
  return &splines_;
}

}  // namespace equitensor
