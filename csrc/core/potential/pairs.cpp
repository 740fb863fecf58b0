#include "pairs.h"

#include <algorithm>
#include <cmath>

#include "network.h"

namespace equitensor {
namespace {
constexpr size_t MOST_BYTES = size_t(15) << 20;  // beyond it the caches are of no help, and evaluating anew is as quick

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

// The functions themselves, in double precision, at many distances at once: arrays (n, channels) with two derivatives.
struct PairTables::Functions {
  int c, C, G, R, degrees, Cp, cp, Gp, elements;
  double cutoff;
  MatrixProduct product;
  Array radial, pair;            // of x0: (R, c); (sender, receiver, c)
  Array first, message, second;  // x0 to the first density, the update and the second density: (c, G), (c, c), (c, G)
  Array first_radial, second_radial;  // (R, G)
  Array mix;                          // (L+1, G, C)

  Functions(const Model& m, MatrixProduct product)
      : c(m.edge_channels),
        C(m.channels),
        G(m.gathered),
        R(m.num_radial),
        degrees(m.lmax + 1),
        Cp(padded<float>(C)),
        cp(padded<float>(c)),
        Gp(padded<float>(G)),
        elements(m.num_elements()),
        cutoff(m.cutoff),
        product(product),
        radial(m.radial) {
    pair = pair_constants(m);
    first = widened(multiply(m.out, m.densities[0].message, c, c, G), G);
    message = widened(multiply(m.out, m.updates[0].message, c, c, c), c);
    second = widened(multiply(m.out, m.densities[1].message, c, c, G), G);
    first_radial = m.densities[0].radial, second_radial = m.densities[1].radial;
    mix = widened(m.densities[0].mix, C);
  }

  // Values, first and second derivatives w.r.t. the distance.
  struct Jet {
    Array part[3];
    explicit Jet(size_t size) : part{Array(size, 0.0), Array(size, 0.0), Array(size, 0.0)} {}
  };

  Jet times(int n, int inner, const Jet& x, const double* matrix, int columns) const {
    Jet out(size_t(n) * eights(columns));
    for (int p = 0; p < 3; p++) product(n, eights(columns), inner, x.part[p].data(), matrix, out.part[p].data());
    return out;
  }

  Array bessel(int n, const double* d) const {
    Array b(size_t(n) * 6 * R);
    for (int k = 0; k < n; k++) bessel_functions(d[k], cutoff, R, b.data() + size_t(k) * 6 * R);
    return b;
  }

  // One column of a matrix (R, columns) on the Bessel functions `from` (three rows of R): value and derivatives.
  void column(const double* from, const Array& matrix, int columns, int j, double* out) const {
    for (int p = 0; p < 3; p++) {
      out[p] = 0;
      for (int i = 0; i < R; i++) out[p] += from[p * R + i] * matrix[size_t(i) * columns + j];
    }
  }

  // x0 = silu(U b(d) + constants)
  Jet embed(int n, const Array& b, int sender, int receiver) const {
    Jet x(size_t(n) * c);
    const double* constant = pair.data() + (size_t(sender) * elements + receiver) * c;
    for (int k = 0; k < n; k++)
      for (int j = 0; j < c; j++) {
        double h[3];
        column(b.data() + size_t(k) * 6 * R, radial, c, j, h);
        h[0] += constant[j];
        const double p = 1 / (1 + std::exp(-h[0])), first_by_h = p * (1 + h[0] * (1 - p)),
                     second_by_h = p * (1 - p) * (2 + h[0] * (1 - 2 * p));
        const size_t to = size_t(k) * c + j;
        x.part[0][to] = h[0] * p, x.part[1][to] = first_by_h * h[1],
        x.part[2][to] = second_by_h * h[1] * h[1] + first_by_h * h[2];
      }
    return x;
  }

  // R(d) times x V
  Jet carried(int n, const Array& b, const Jet& x, const Array& V, const Array& radial_matrix) const {
    const Jet m = times(n, c, x, V.data(), G);
    Jet out(size_t(n) * G);
    for (int k = 0; k < n; k++)
      for (int g = 0; g < G; g++) {
        double r[3];
        column(b.data() + size_t(k) * 6 * R + 3 * R, radial_matrix, G, g, r);
        const size_t from = size_t(k) * eights(G) + g, to = size_t(k) * G + g;
        const double m0 = m.part[0][from], m1 = m.part[1][from], m2 = m.part[2][from];
        out.part[0][to] = r[0] * m0, out.part[1][to] = r[0] * m1 + r[1] * m0,
        out.part[2][to] = r[0] * m2 + 2 * r[1] * m1 + r[2] * m0;
      }
    return out;
  }

  // `columns` of each row of `from` to rows of `width`, from `first` on.
  static void place(int n, const Jet& from, int from_width, int columns, int first, int width, double* to) {
    for (int p = 0; p < 3; p++)
      for (int k = 0; k < n; k++)
        std::copy_n(from.part[p].data() + size_t(k) * from_width, columns, to + (size_t(p) * n + k) * width + first);
  }

  Spline density(int sender, int receiver, int knots) const {
    const int width = degrees * Cp;
    return spline(width, cutoff, knots, [=](int n, const double* d, double* out) {
      const Array b = bessel(n, d);
      const Jet p = carried(n, b, embed(n, b, sender, receiver), first, first_radial);
      std::fill_n(out, size_t(3) * n * width, 0.0);
      for (int l = 0; l < degrees; l++)
        place(n, times(n, G, p, mix.data() + size_t(l) * G * eights(C), C), eights(C), C, l * Cp, width, out);
    });
  }

  Spline messages(int sender, int receiver, int knots) const {
    const int width = cp + Gp;
    return spline(width, cutoff, knots, [=](int n, const double* d, double* out) {
      const Array b = bessel(n, d);
      const Jet x = embed(n, b, sender, receiver);
      std::fill_n(out, size_t(3) * n * width, 0.0);
      place(n, times(n, c, x, message.data(), c), eights(c), c, 0, width, out);
      place(n, carried(n, b, x, second, second_radial), G, G, cp, width, out);
    });
  }
};

PairTables::PairTables(const Model& model, MatrixProduct product) {
  if (model.layers != 2 || model.lmax > 4) return;
  functions_ = std::make_shared<const Functions>(model, product);
  const size_t pairs = size_t(model.num_elements()) * model.num_elements();
  splines_.density.resize(pairs), splines_.messages.resize(pairs);
}

const PairSplines* PairTables::of(const std::vector<int32_t>& species, Network<float>& network) {
  if (!functions_) return nullptr;
  const Functions& f = *functions_;
  std::vector<bool> present(f.elements, false);
  for (int32_t kind : species)
    if (kind >= 0) present[kind] = true;
  const size_t kinds = std::count(present.begin(), present.end(), true);
  Spline& common = network.spline;
  int knots = common.knots;
  for (bool finer = true; finer;) {  // all with the knots of the one that needs most
    finer = false;
    if (kinds * kinds * knots * SPLINE_ROWS * (f.degrees * f.Cp + f.cp + f.Gp) * sizeof(float) > MOST_BYTES)
      return nullptr;
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
  if (common.knots < knots) common = spline(common.width, network.cutoff, knots, network.functions);
  return &splines_;
}

}  // namespace equitensor
