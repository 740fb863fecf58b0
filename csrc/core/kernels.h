// What the CPU kernels take, and the table of those that run on this machine.
#pragma once

#include <cstdint>
#include <vector>

#include "rows.h"

namespace equitensor {

// Slots start[i] .. start[i + 1] are those of atom i, at most `width` of them. Y (slots, components); rows (slots, channels)
// lie at their slots, or, with `rev`, at those slots' reverses.
template <class T>
struct EdgeForm {
  int64_t width, components, channels;
  const T* harmonics;
  const int64_t *start, *rev;
};

// One array for each factor of the form, or null: Y, a, b, G.
template <class T>
struct EdgeArrays {
  T *harmonics, *a, *b, *features;
};

template <class T>
struct Entry {
  T coefficient;
  int32_t second;
};

// Entries up to `end` that share their result, their first operand and their path.
struct Group {
  int32_t first, end, path;
};

// A sparse tensor, sorted by result, first operand and path; row[k] is the first group of result k.
template <class T>
struct ProductPlan {
  int64_t size_out, size_first, size_second;
  std::vector<int32_t> row;
  std::vector<Group> groups;
  std::vector<Entry<T>> entries;
};

// Powers of a density, weighted by element: see density_product.inl.
template <class T>
struct DensityProduct {
  int64_t components, channels, order, degrees, paths;
  bool invariants, symmetric;  // symmetric: x (x) y = y (x) x
  ProductPlan<T> plans[3];
  std::vector<int64_t> degree;  // of each component
  const int64_t* species;
};

// Features x, weights (elements, order, degrees or 1, channels), mix (paths, channels) or null for ones, the gradient g
// w.r.t. the output, tangents of the first three; results, null where not wanted.
template <class T>
struct DensityArrays {
  const T *x, *weight, *mix, *g, *h_x, *h_weight, *h_mix;
  T *out, *dx, *dweight, *dmix;
};

// Sums of weighted terms: those of sum k are the ones before stop[k].
template <class T>
struct SparseSums {
  std::vector<int32_t> stop, from;
  std::vector<T> factor;
};

// Entries of a polynomial in groups that share `outer` and `factor`; `end` says where a group's entries end, `weights`
// what each entry's coefficient is made of.
template <class T>
struct PolynomialOrder {
  int64_t groups;
  const int32_t *outer, *factor, *end, *inner;
  SparseSums<T> weights;
};

// z_M = sum over entries of W x_k v_node: see many_body.inl. By (M, k) with inner nodes, and by (node, k) with inner M.
// Paths are sums of the weights, or the weights themselves (`reduction` empty). Atoms by element: those of element e are
// order[start[e]] .. order[start[e + 1]].
template <class T>
struct ManyBody {
  int64_t components, outputs, channels, num_weights, paths, products, entries;
  const int32_t *left, *right;
  PolynomialOrder<T> rows, monomials;
  SparseSums<T> reduction;
  std::vector<int64_t> order, start, present;
};

// (atoms, components, channels) wherever they lie in memory.
template <class T>
struct Strided {
  T* data;
  int64_t atom, component, channel;
  T* at(int64_t n, int64_t i, int64_t c) const { return data + n * atom + i * component + c * channel; }
};

// Features x, weights (elements, num_weights, channels), the gradient g w.r.t. the output, tangents of the first two (null:
// zero); results, null where not wanted.
template <class T>
struct ManyBodyArrays {
  Strided<const T> x, h_x, g;
  const T *weight, *h_weight;
  Strided<T> out, dx;
  T* dweight;
};

// Where a path's blocks start in the rows of x, y, w and z, its channels, and 2 l + 1 of x, y and z; where they start in
// the rows of x and z with channels last, and how far apart the components are there.
struct UVUPath {
  int64_t x, y, w, z, mul, i, j, k, last_x, last_z, lanes;
};

// Paths with their couplings: as matrices (j, padded i k), and sparse, where the entries (i, j) of path p are a sum over
// entries[p] row[p][i J + j] .. of components k. `scalar`: j is 1, and the matrix a multiple of one.
template <class T>
struct UVUPaths {
  int64_t width_x, width_y, width_w, width_z;
  int64_t last_x = 0, last_z = 0;  // widths with channels last
  std::vector<UVUPath> paths;
  std::vector<Rows> x, z;  // the blocks of their rows
  std::vector<std::vector<T>> coupling;
  std::vector<std::vector<int32_t>> row;
  std::vector<std::vector<Entry<T>>> entries;
  std::vector<bool> scalar;
};

// Edges by receiver: those of node n are order[start[n]] .. order[start[n + 1]].
template <class T>
struct UVUConvolution : UVUPaths<T> {
  const int64_t *order, *start, *sender;
  bool streams_dw = false;  // dw is larger than caches, its blocks lie in whole lines: writes may go past the caches
};

// Operands, the gradient g w.r.t. z, tangents of the operands (null: zero); results. x, h_x and dx with channels last.
template <class T>
struct UVUArrays {
  const T *x, *y, *w, *g, *h_x, *h_y, *h_w;
  T *dz, *dx, *dy, *dw;
};

// Channel c of a component of a row lies at start + c stride.
struct Component {
  int64_t start, stride;
};

// A path and a component of z, with groups up to `end`.
struct UUUTerm {
  int32_t path, out, end;
};

template <class T>
struct UUUProduct {
  int64_t channels, width_w;  // width_w: from the weights of an item to those of the next, 0 where items share them
  std::vector<Component> x, y, z, w;
  std::vector<UUUTerm> terms;
  std::vector<Group> groups;
  std::vector<Entry<T>> entries;
};

// Operands, the gradient g w.r.t. z, tangents of the operands (null: zero); results, null where not wanted, dw added to.
template <class T>
struct UUUArrays {
  const T *x, *y, *w, *g, *h_x, *h_y, *h_w;
  T *z, *dx, *dy, *dw;
};

// Y_out += coefficient Y_in (x, y, z)_axis: how each degree of the harmonics comes from the one below.
struct Raising {
  int64_t out, in, axis;
  double coefficient;
};

struct EdgeGeometry {
  int64_t components, num_radial;
  double cutoff;
  std::vector<Raising> raising;  // by rising degree
};

// Vectors (e, 3), a tangent of theirs, gradients w.r.t. the three results; results, null where not wanted.
template <class T>
struct GeometryArrays {
  const T *vectors, *tangent, *g_harmonics, *g_functions, *g_radial;
  T *harmonics, *functions, *radial, *dvectors;
};

template <class T>
struct Kernels {
  void (*edge_gather)(const EdgeForm<T>&, int64_t, int64_t, const T*, const T*, T*);
  void (*edge_read)(const EdgeForm<T>&, int64_t, int64_t, const T*, const T*, T*);
  void (*edge_gradient)(const EdgeForm<T>&, int64_t, int64_t, const EdgeArrays<const T>&, const EdgeArrays<const T>*,
                        const EdgeArrays<T>&);
  void (*channel_product)(const ProductPlan<T>&, int64_t, int64_t, int64_t, const T*, const T*, T*);
  void (*density_product)(const DensityProduct<T>&, int64_t, int64_t, const DensityArrays<T>&);
  void (*density_product_tangents)(const DensityProduct<T>&, int64_t, int64_t, const DensityArrays<T>&);
  void (*degree_linear)(int64_t, int64_t, int64_t, int64_t, int64_t, const T*, const T*, bool, bool, T*);
  void (*degree_outer)(int64_t, int64_t, int64_t, int64_t, int64_t, const T*, const T*, T*);
  void (*edge_geometry)(const EdgeGeometry&, int64_t, int64_t, const GeometryArrays<T>&);
  void (*edge_geometry_tangents)(const EdgeGeometry&, int64_t, int64_t, const GeometryArrays<T>&);
  void (*uvu_values)(const UVUConvolution<T>&, int64_t, int64_t, const UVUArrays<T>&);
  void (*uvu_gradients)(const UVUConvolution<T>&, int64_t, int64_t, const UVUArrays<T>&);
  void (*uvu_tangents)(const UVUConvolution<T>&, int64_t, int64_t, const UVUArrays<T>&);
  void (*uuu_product)(const UUUProduct<T>&, int64_t, int64_t, const UUUArrays<T>&);
  void (*uuu_product_tangents)(const UUUProduct<T>&, int64_t, int64_t, const UUUArrays<T>&);
  void (*many_body)(const ManyBody<T>&, int64_t, int64_t, const ManyBodyArrays<T>&);
  void (*many_body_tangents)(const ManyBody<T>&, int64_t, int64_t, const ManyBodyArrays<T>&);
  // c (M, N) = a b, or += : see simd.h
  void (*matrix_product)(int64_t, int64_t, int64_t, const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t, bool);
  int64_t (*padded)(int64_t);  // the next multiple of the register width
  void (*silu)(int64_t, const T*, T*);
  void (*silu_backward)(int64_t, const T*, const T*, T*);
  void (*silu_second)(int64_t, const T*, const T*, const T*, T*, T*);
};

// Those for the widest vectors that this processor has.
template <class T>
const Kernels<T>& kernels();

#if defined(__x86_64__)
template <class T>
const Kernels<T>& avx2_kernels();
template <class T>
const Kernels<T>& avx512_kernels();
#endif

const char* instruction_set();

}  // namespace equitensor
