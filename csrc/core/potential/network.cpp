#include "network.h"

#include <algorithm>
#include <cmath>

#include "gaunt_tables.h"

namespace equitensor {

Array multiply(const Array& a, const Array& b, int rows, int inner, int columns) {
  Array out(size_t(rows) * columns, 0.0);
  for (int i = 0; i < rows; i++)
    for (int k = 0; k < inner; k++)
      for (int j = 0; j < columns; j++) out[i * columns + j] += a[i * inner + k] * b[k * columns + j];
  return out;
}

namespace {

// `stack` matrices (rows, columns), each row and column padded with zeros.
template <class T>
Aligned<T> pad(const Array& a, int stack, int rows, int columns, int padded_rows, int padded_columns) {
  Aligned<T> out(size_t(stack) * padded_rows * padded_columns);
  for (int s = 0; s < stack; s++)
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++)
        out[(size_t(s) * padded_rows + i) * padded_columns + j] =
            static_cast<T>(a[(size_t(s) * rows + i) * columns + j]);
  return out;
}

template <class T>
Aligned<T> transpose(const Aligned<T>& a, int stack, int rows, int columns) {
  Aligned<T> out(size_t(stack) * rows * columns);
  for (int s = 0; s < stack; s++)
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < columns; j++)
        out[(size_t(s) * columns + j) * rows + i] = a[(size_t(s) * rows + i) * columns + j];
  return out;
}

// What comes of an edge's state through matrix `m` (c, width) on messages: blocks W m, O_0 m, O_1 m ... (blocks cp,
// wp).
template <class T>
Aligned<T> on_state(const Model& model, const Array& m, int width, int blocks) {
  const int c = model.edge_channels, cp = padded<T>(c), wp = padded<T>(width);
  Aligned<T> out(size_t(blocks) * cp * wp);
  for (int b = 0; b < blocks; b++) {
    const Array block = multiply(b == 0 ? model.out : model.updates[b - 1].out, m, c, c, width);
    const Aligned<T> own = pad<T>(block, 1, c, width, cp, wp);
    std::copy(own.data(), own.data() + size_t(cp) * wp, out.data() + size_t(b) * cp * wp);
  }
  return out;
}

template <class T>
Coupled<T> coupled(const Model& model, int slot) {
  // Results, first and second operands of the derivative w.r.t. x, w.r.t. y, and of the product itself.
  struct Row {
    int out, first, second, path;
    double coefficient;
  };
  std::vector<Row> rows;
  for (const Coupling& t : model.coupling) {
    const int part[3] = {t.first, t.second, t.out};
    const int a = slot == 0 ? 1 : 0, b = slot == 2 ? 1 : 2;
    rows.push_back({part[slot], part[a], part[b], model.paths ? t.path : 0, t.coefficient});
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.out != b.out       ? a.out < b.out
           : a.first != b.first ? a.first < b.first
           : a.path != b.path   ? a.path < b.path
                                : a.second < b.second;
  });
  Coupled<T> made;
  made.row.assign(model.components() + 1, 0);
  for (size_t i = 0; i < rows.size(); i++) {
    const Row& r = rows[i];
    if (i == 0 || r.out != rows[i - 1].out || r.first != rows[i - 1].first || r.path != rows[i - 1].path)
      made.groups.push_back({r.first, 0, r.path});
    made.entries.push_back({static_cast<T>(r.coefficient), r.second});
    made.groups.back().end = static_cast<int32_t>(made.entries.size());
    made.row[r.out + 1] = static_cast<int32_t>(made.groups.size());
  }
  for (int k = 0; k < model.components(); k++) made.row[k + 1] = std::max(made.row[k], made.row[k + 1]);
  return made;
}

// Whether the product of x with y is that of y with x.
bool is_symmetric(const Model& model) {
  const int d = model.components();
  std::vector<Coupling> sorted = model.coupling, turned = model.coupling;
  for (Coupling& t : turned) std::swap(t.first, t.second);
  const auto before = [d](const Coupling& a, const Coupling& b) {
    const auto key = [d](const Coupling& t) { return ((int64_t(t.path) * d + t.out) * d + t.first) * d + t.second; };
    return key(a) < key(b);
  };
  std::sort(sorted.begin(), sorted.end(), before);
  std::sort(turned.begin(), turned.end(), before);
  for (size_t i = 0; i < sorted.size(); i++) {
    const Coupling &a = sorted[i], &b = turned[i];
    if (a.path != b.path || a.out != b.out || a.first != b.first || a.second != b.second ||
        std::fabs(a.coefficient - b.coefficient) > 1e-12)
      return false;
  }
  return true;
}

template <int L>
bool equals(const Model& model) {
  const int d = model.components();
  Array dense(size_t(d) * d * d, 0.0);
  for (const Coupling& t : model.coupling) dense[(size_t(t.first) * d + t.second) * d + t.out] += t.coefficient;
  for (const GauntEntry& t : Gaunt<L>::entries) {
    dense[(size_t(t.i) * d + t.j) * d + t.k] -= t.value;
    if (t.i != t.j) dense[(size_t(t.j) * d + t.i) * d + t.k] -= t.value;
  }
  return std::all_of(dense.begin(), dense.end(), [](double value) { return std::fabs(value) < 1e-12; });
}

// The degree of the Gaunt tensor that the coupling is, if there is an unrolled product with it; else 0.
int gaunt_degree(const Model& model) {
  if (model.paths) return 0;
  switch (model.lmax) {
    case 1: return equals<1>(model) ? 1 : 0;
    case 2: return equals<2>(model) ? 2 : 0;
    case 3: return equals<3>(model) ? 3 : 0;
    case 4: return equals<4>(model) ? 4 : 0;
  }
  return 0;
}

template <class T>
Product<T> product(const Network<T>& n, const Model& model, const ProductWeights& weights, bool invariants) {
  Product<T> out;
  const int rows = model.num_elements() * model.correlation * (invariants ? 1 : model.lmax + 1);
  out.coefficients = pad<T>(weights.coefficients, 1, rows, n.C, rows, n.Cp);
  if (!weights.paths.empty()) out.paths = pad<T>(weights.paths, 1, n.paths, n.C, n.paths, n.Cp);
  return out;
}

// q_mm and the factors of the recursion over l of q_lm, 'component' normalisation: see o3/spherical_harmonics.py.
template <class T>
void harmonics(Network<T>& n) {
  n.diagonal.assign(n.L + 1, 1.0);
  n.alpha.assign((n.L + 1) * (n.L + 1), 0.0);
  n.beta = n.alpha;
  for (int m = 1; m <= n.L; m++)
    n.diagonal[m] = n.diagonal[m - 1] * std::sqrt((2 * m + 1) / (2.0 * m) * (m == 1 ? 2 : 1));
  for (int m = 0; m <= n.L; m++)
    for (int l = m + 1; l <= n.L; l++) {
      double& alpha = n.alpha[l * (n.L + 1) + m];
      alpha = std::sqrt((4.0 * l * l - 1) / (double(l) * l - double(m) * m));
      if (l > m + 1) n.beta[l * (n.L + 1) + m] = alpha / n.alpha[(l - 1) * (n.L + 1) + m];
    }
}

}  // namespace

Array pair_constants(const Model& m) {
  const int c = m.edge_channels, elements = m.num_elements();
  Array pair(size_t(elements) * elements * c);
  for (int j = 0; j < elements; j++)
    for (int i = 0; i < elements; i++)
      for (int k = 0; k < c; k++)
        pair[(size_t(j) * elements + i) * c + k] =
            m.bias[k] + m.sender[size_t(j) * c + k] + m.receiver[size_t(i) * c + k];
  return pair;
}

namespace {

// The radial functions side by side, (R, width) on the Bessel functions, in double precision.
struct Columns {
  int width;
  Array matrix;
  std::vector<Segment> segments;

  Segment add(const Array& a, int R, int columns, int padded_columns, bool enveloped) {
    const Segment segment{width, padded_columns, enveloped};
    const int wider = width + padded_columns;
    Array joined(size_t(R) * wider, 0.0);
    for (int i = 0; i < R; i++) {
      for (int j = 0; j < width; j++) joined[size_t(i) * wider + j] = matrix[size_t(i) * width + j];
      for (int j = 0; j < columns; j++) joined[size_t(i) * wider + width + j] = a[size_t(i) * columns + j];
    }
    matrix.swap(joined);
    width = wider;
    segments.push_back(segment);
    return segment;
  }
};

// Quintic splines through the functions' values and derivatives at the knots, so close that derivatives in between err
// by less than half a millionth of their size.
void make_spline(Network<float>& n, const Columns& columns) {
  const int width = columns.width, R = n.R;
  const double cutoff = n.cutoff;
  n.functions = [width, R, cutoff, columns](int count, const double* at, double* out) {
    Array b(6 * R);
    std::fill(out, out + size_t(3) * count * width, 0.0);
    for (int k = 0; k < count; k++) {
      bessel_functions(at[k], cutoff, R, b.data());
      for (int derivative = 0; derivative < 3; derivative++) {
        double* to = out + (size_t(derivative) * count + k) * width;
        for (const Segment& s : columns.segments) {
          const double* from = b.data() + (s.enveloped ? 3 * R : 0) + derivative * R;
          for (int i = 0; i < R; i++)
            for (int j = s.offset; j < s.offset + s.width; j++)
              to[j] += from[i] * columns.matrix[size_t(i) * width + j];
        }
      }
    }
  };
  n.spline = spline(width, cutoff, 0, n.functions);
}

void make_spline(Network<double>&, const Columns&) {}  // evaluated directly: exact

}  // namespace

template <class T>
Network<T> fold(const Model& model) {
  Network<T> n;
  n.L = model.lmax, n.D = model.components(), n.Dp = padded<T>(n.D);
  n.C = model.channels, n.Cp = padded<T>(n.C), n.c = model.edge_channels, n.cp = padded<T>(n.c);
  n.G = model.gathered, n.Gp = padded<T>(n.G), n.R = model.num_radial;
  n.layers = model.layers, n.order = model.correlation, n.paths = model.paths, n.elements = model.num_elements();
  n.cutoff = model.cutoff, n.shift = model.shift, n.zbl = model.zbl, n.z = model.elements, n.e0s = model.e0s;
  n.begins = model.begins;
  n.usual_crowding = model.normalized ? model.num_neighbors / 3 : 0;
  harmonics(n);

  Columns columns{0, {}, {}};
  n.embedding = columns.add(model.radial, n.R, n.c, n.cp, false);
  for (int r = 0; r < n.layers; r++) {
    const DensityWeights& weights = model.densities[r];
    DensityMatrices<T> density;
    density.radial = columns.add(weights.radial, n.R, n.G, n.Gp, true);
    density.message = on_state<T>(model, weights.message, n.G, r + 1);
    density.message_t = transpose(density.message, 1, (r + 1) * n.cp, n.Gp);
    density.mix = pad<T>(weights.mix, n.L + 1, n.G, n.C, n.Gp, n.Cp);
    density.mix_t = transpose(density.mix, n.L + 1, n.Gp, n.Cp);
    n.densities.push_back(std::move(density));
  }
  for (int q = 0; q + 1 < n.layers; q++) {
    const UpdateWeights& weights = model.updates[q];
    UpdateMatrices<T> update;
    update.radial = columns.add(weights.radial, n.R, n.c, n.cp, true);
    update.message = on_state<T>(model, weights.message, n.c, q + 1);
    update.message_t = transpose(update.message, 1, (q + 1) * n.cp, n.cp);
    update.angular = pad<T>(weights.angular, n.L + 1, n.C, n.c, n.Cp, n.cp);
    update.angular_t = transpose(update.angular, n.L + 1, n.Cp, n.cp);
    update.scalars = pad<T>(weights.scalars, 1, n.C, n.c, n.Cp, n.cp);
    update.scalars_t = transpose(update.scalars, 1, n.Cp, n.cp);
    update.bias = pad<T>(weights.bias, 1, 1, n.c, 1, n.cp);
    Array energy = model.products[q].energy;
    for (double& value : energy) value *= model.scale;
    update.energy = pad<T>(energy, 1, 1, n.C, 1, n.Cp);
    n.updates.push_back(std::move(update));
    n.products.push_back(product(n, model, model.products[q], false));
  }
  n.radial_width = columns.width;
  n.radial = pad<T>(columns.matrix, 1, n.R, columns.width, n.R, columns.width);
  make_spline(n, columns);

  n.pair = pad<T>(pair_constants(model), 1, n.elements * n.elements, n.c, n.elements * n.elements, n.cp);

  for (int slot = 0; slot < 3; slot++) n.coupled[slot] = coupled<T>(model, slot);
  n.symmetric = is_symmetric(model);
  n.gaunt = gaunt_degree(model);
  n.invariants = product(n, model, model.invariants, true);
  Array head_out = model.head_out;
  for (double& value : head_out) value *= model.scale;
  n.head = pad<T>(multiply(model.mix, model.head, n.C, n.C, n.C), 1, n.C, n.C, n.Cp, n.Cp);
  n.head_t = transpose(n.head, 1, n.Cp, n.Cp);
  n.head_out = pad<T>(head_out, 1, 1, n.C, 1, n.Cp);
  n.mix = pad<T>(model.mix, 1, n.C, n.C, n.Cp, n.Cp);
  return n;
}

template Network<float> fold(const Model&);
template Network<double> fold(const Model&);

}  // namespace equitensor
