#include "pairs.h"

#include <algorithm>
#include <cmath>

#include "network.h"

namespace equitensor {
namespace {
constexpr size_t MOST_BYTES = size_t(48) << 20;  // beyond it the caches are of no help, and evaluating anew is quicker
}

// The functions themselves, in double precision.
struct PairTables::Functions {
  int c, C, G, R, degrees, Cp, cp, Gp, elements;
  double cutoff;
  Array radial, pair;       // (R, c); (sender, receiver, c)
  Array first, mix;         // x0 to the first density: (c, G), (L+1, G, C)
  Array first_radial;       // (R, G)
  Array message, second;    // x0 to the update (c, c) and to the second density (c, G)
  Array second_radial;      // (R, G)

  explicit Functions(const Model& m)
      : c(m.edge_channels), C(m.channels), G(m.gathered), R(m.num_radial), degrees(m.lmax + 1), Cp(padded<float>(C)),
        cp(padded<float>(c)), Gp(padded<float>(G)), elements(m.num_elements()), cutoff(m.cutoff), radial(m.radial),
        mix(m.densities[0].mix), first_radial(m.densities[0].radial), second_radial(m.densities[1].radial) {
    first = multiply(m.out, m.densities[0].message, c, c, G);
    message = multiply(m.out, m.updates[0].message, c, c, c);
    second = multiply(m.out, m.densities[1].message, c, c, G);
    pair = pair_constants(m);
  }

  // Each value is followed by its derivative by the distance.
  struct Dual {
    double value, tangent;
  };
  static Array product(const Array& x, const Array& matrix, int inner, int columns) {  // x (inner,)
    return multiply(x, matrix, 1, inner, columns);
  }

  // x0 = silu(U b(d) + constants) and its derivative; the Bessel functions (4, R).
  void embed(double d, int sender, int receiver, Array& b, Array& x, Array& dx) const {
    b.assign(4 * R, 0.0), x.assign(c, 0.0), dx.assign(c, 0.0);
    bessel_functions(d, cutoff, R, b.data());
    const double* constant = pair.data() + (size_t(sender) * elements + receiver) * c;
    for (int k = 0; k < c; k++) {
      double h = constant[k], dh = 0;
      for (int i = 0; i < R; i++) h += b[i] * radial[size_t(i) * c + k], dh += b[R + i] * radial[size_t(i) * c + k];
      const double p = 1 / (1 + std::exp(-h));
      x[k] = h * p, dx[k] = p * (1 + h * (1 - p)) * dh;
    }
  }

  // R(d) times x V, both (G,), and its derivative.
  void carried(const Array& b, const Array& x, const Array& dx, const Array& V, const Array& radial_matrix, Array& p, Array& dp) const {
    const Array m = product(x, V, c, G), dm = product(dx, V, c, G);
    p.assign(G, 0.0), dp.assign(G, 0.0);
    for (int g = 0; g < G; g++) {
      double r = 0, dr = 0;
      for (int i = 0; i < R; i++) r += b[2 * R + i] * radial_matrix[size_t(i) * G + g], dr += b[3 * R + i] * radial_matrix[size_t(i) * G + g];
      p[g] = r * m[g], dp[g] = r * dm[g] + dr * m[g];
    }
  }

  Spline density(int sender, int receiver, int knots) const {
    return spline(degrees * Cp, cutoff, knots, [&](double d, double* values, double* derivatives) {
      Array b, x, dx, p, dp;
      embed(d, sender, receiver, b, x, dx);
      carried(b, x, dx, first, first_radial, p, dp);
      std::fill(values, values + degrees * Cp, 0.0), std::fill(derivatives, derivatives + degrees * Cp, 0.0);
      for (int l = 0; l < degrees; l++)
        for (int g = 0; g < G; g++) {
          const double* row = mix.data() + (size_t(l) * G + g) * C;
          for (int k = 0; k < C; k++) values[l * Cp + k] += p[g] * row[k], derivatives[l * Cp + k] += dp[g] * row[k];
        }
    });
  }

  Spline messages(int sender, int receiver, int knots) const {
    return spline(cp + Gp, cutoff, knots, [&](double d, double* values, double* derivatives) {
      Array b, x, dx, p, dp;
      embed(d, sender, receiver, b, x, dx);
      carried(b, x, dx, second, second_radial, p, dp);
      const Array m = product(x, message, c, c), dm = product(dx, message, c, c);
      std::fill(values, values + cp + Gp, 0.0), std::fill(derivatives, derivatives + cp + Gp, 0.0);
      std::copy(m.begin(), m.end(), values), std::copy(dm.begin(), dm.end(), derivatives);
      std::copy(p.begin(), p.end(), values + cp), std::copy(dp.begin(), dp.end(), derivatives + cp);
    });
  }
};

PairTables::PairTables(const Model& model) {
  if (model.layers != 2 || model.lmax > 4) return;
  functions_ = std::make_shared<const Functions>(model);
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
