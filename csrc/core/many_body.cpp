// Polynomials of each atom's features with coefficients by element and channel, and their derivatives.

#include "call.h"

using namespace equitensor;

namespace {

enum Size { COMPONENTS, OUTPUTS, PRODUCTS, ROWS, MONOMIALS, ENTRIES, WEIGHTS };

// Reads the table from its start, and no number beyond its limit.
struct TableReader {
  const int32_t* next;

  const int32_t* take(int64_t count, int64_t limit) {
    const int32_t* part = next;
    for (int64_t i = 0; i < count; i++)
      require(0 <= part[i] && part[i] < limit, "many_body: the table holds ", part[i], " where ", limit,
              " is the limit");
    next += count;
    return part;
  }
  // Rising to `last`.
  const int32_t* take_ends(int64_t count, int64_t last) {
    const int32_t* part = take(count, last + 1);
    for (int64_t i = 1; i < count; i++) require(part[i - 1] <= part[i], "many_body: the table's ends must rise");
    require(count ? part[count - 1] == last : last == 0, "many_body: the table's ends must reach ", last);
    return part;
  }
};

template <class T>
struct Basis {
  const T* values;
  int64_t rank, size;
};

template <class T>
PolynomialOrder<T> read_order(TableReader& table, const Basis<T>& basis, const int64_t* sizes, int64_t groups,
                              int64_t outer, int64_t inner) {
  const int64_t entries = sizes[ENTRIES], weights = sizes[WEIGHTS];
  PolynomialOrder<T> order;
  order.groups = groups;
  order.outer = table.take(groups, outer), order.factor = table.take(groups, sizes[COMPONENTS]);
  order.end = table.take_ends(groups, entries), order.inner = table.take(entries, inner);
  const int32_t *stop = table.take_ends(entries, weights), *path = table.take(weights, basis.rank);
  const int32_t* position = table.take(weights, basis.size);
  order.weights = {{stop, stop + entries}, {path, path + weights}, std::vector<T>(weights)};
  for (int64_t n = 0; n < weights; n++) order.weights.factor[n] = basis.values[path[n] * basis.size + position[n]];
  return order;
}

// The columns of a matrix (rows, columns) with many zeros.
template <class T>
SparseSums<T> columns_of(const T* matrix, int64_t rows, int64_t columns) {
  SparseSums<T> sums;
  for (int64_t k = 0; k < columns; k++) {
    for (int64_t p = 0; p < rows; p++)
      if (const T value = matrix[p * columns + k]; value != 0)
        sums.from.push_back(static_cast<int32_t>(p)), sums.factor.push_back(value);
    sums.stop.push_back(static_cast<int32_t>(sums.from.size()));
  }
  return sums;
}

// Atoms sorted by element, those of one element in their order.
template <class T>
void sort_atoms(const int64_t* element, int64_t atoms, int64_t elements, ManyBody<T>& p) {
  p.start.assign(elements + 1, 0);
  for (int64_t i = 0; i < atoms; i++) {
    require(0 <= element[i] && element[i] < elements, "many_body: element ", element[i], " is beyond the ", elements,
            " elements of weight");
    p.start[element[i] + 1]++;
  }
  for (int64_t e = 0; e < elements; e++) {
    if (p.start[e + 1]) p.present.push_back(e);
    p.start[e + 1] += p.start[e];
  }
  std::vector<int64_t> next(p.start.begin(), p.start.end() - 1);
  p.order.resize(atoms);
  for (int64_t i = 0; i < atoms; i++) p.order[next[element[i]]++] = i;
}

template <class T>
void read_table(ManyBody<T>& p, const Basis<T>& basis, const int32_t* integers, int64_t length, const int64_t* sizes) {
  for (int n = 0; n <= WEIGHTS; n++) require(sizes[n] >= 0, "many_body: sizes must not be negative");
  const int64_t groups = sizes[ROWS] + sizes[MONOMIALS], entries = sizes[ENTRIES] + sizes[WEIGHTS];
  const int64_t expected = 2 * sizes[PRODUCTS] + 3 * groups + 4 * entries;
  require(length == expected, "many_body: table holds ", length, " integers, expected ", expected);
  p.components = sizes[COMPONENTS], p.outputs = sizes[OUTPUTS], p.products = sizes[PRODUCTS];
  p.entries = sizes[ENTRIES], p.paths = basis.rank;
  const int64_t nodes = p.components + 1 + p.products;
  TableReader table{integers};
  p.left = table.take(p.products, nodes), p.right = table.take(p.products, p.components);
  for (int64_t q = 0; q < p.products; q++)
    require(p.left[q] < p.components + 1 + q, "many_body: a product needs a later one");
  p.rows = read_order<T>(table, basis, sizes, sizes[ROWS], p.outputs, nodes);
  p.monomials = read_order<T>(table, basis, sizes, sizes[MONOMIALS], nodes, p.outputs);
}

template <class T, class V>
Strided<T> strided(V* array, const int64_t* strides) {
  return {static_cast<T*>(array), strides[0], strides[1], strides[2]};
}

// Elements in blocks of channels share nothing that is written, so that threads change no sum.
template <class T, class F>
void over_tasks(const ManyBody<T>& p, int64_t passes, int threads, const F& body) {
  const int64_t width = kernels<T>().padded(1), blocks = (p.channels + width - 1) / width;
  const int64_t elements = static_cast<int64_t>(p.present.size()), atoms = static_cast<int64_t>(p.order.size());
  if (!elements) return;
  const int64_t weights = static_cast<int64_t>(p.rows.weights.from.size());
  const int64_t each = passes * width * (weights + p.entries * atoms / elements);
  parallel_for(blocks * elements, items_per_task(each), threads, body);
}

}  // namespace

int equitensor_many_body(int precision, int64_t atoms, int64_t channels, int64_t elements, int64_t paths, int64_t rank,
                         int64_t basis_size, int64_t table_length, int64_t tangents, const void* x, const void* weight,
                         const void* g, const void* h_x, const void* h_weight, const int64_t* element,
                         const void* reduction, const void* basis, const int32_t* table, const int64_t* sizes,
                         const int64_t* strides, void* out, void* dx, void* dweight, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    require(reduction || paths == rank, "many_body: weight has ", paths, " paths, basis ", rank);
    ManyBody<T> p{};
    p.num_weights = paths, p.channels = channels;
    if (reduction) p.reduction = columns_of(from<T>(reduction), paths, rank);
    read_table(p, Basis<T>{from<T>(basis), rank, basis_size}, table, table_length, sizes);
    sort_atoms(element, atoms, elements, p);
    const ManyBodyArrays<T> at{strided<const T>(x, strides),
                               strided<const T>(h_x, strides + 3),
                               strided<const T>(g, strides + 6),
                               from<T>(weight),
                               from<T>(h_weight),
                               strided<T>(out, strides + 9),
                               strided<T>(dx, strides + 12),
                               into<T>(dweight)};
    clear(at.dweight, elements * paths * channels);
    const auto kernel = tangents ? kernels<T>().many_body_tangents : kernels<T>().many_body;
    over_tasks(p, tangents ? 6 : g ? 3 : 1, threads, [&](int64_t first, int64_t last) { kernel(p, first, last, at); });
  });
}
