// What the uvu convolution, the uvu product and the radial convolution go through: edges by receiver, and paths.
#pragma once

#include "call.h"

namespace equitensor {
namespace uvu {

template <class T>
struct Problem {
  std::vector<int64_t> order, start, sender;  // `sender`, where it is not the caller's array
  bool every_weight, every_result;            // belongs to a path
  UVUConvolution<T> v;
  int64_t nodes() const { return static_cast<int64_t>(start.size()) - 1; }
  int64_t edges() const { return static_cast<int64_t>(order.size()); }
};

// Where a block lies with channels last; one that is not known yet comes behind the others.
inline int64_t place(std::vector<Rows>& blocks, int64_t start, int64_t mul, int64_t size, int64_t lanes,
                     int64_t& width) {
  for (const Rows& known : blocks)
    if (known.start == start) {
      require(known.mul == mul && known.size == size, "uvu: blocks of paths overlap at ", start);
      return known.last;
    }
  blocks.push_back({start, mul, size, width, lanes});
  width += size * lanes;
  return blocks.back().last;
}

// Channels in whole pairs of registers, which is how the kernels read and write them.
template <class T>
int64_t lanes(int64_t channels) {
  return 2 * kernels<T>().padded((channels + 1) / 2);
}

// Whether the path of a plan's row lies within its operands.
template <class T>
void check_path(const UVUPaths<T>& v, const int64_t* n) {
  const bool positive = std::all_of(n, n + 8, [](int64_t number) { return number >= 0; });
  require(positive && n[0] + n[4] * n[5] <= v.width_x && n[1] + n[6] <= v.width_y && n[2] + n[4] <= v.width_w &&
              n[3] + n[4] * n[7] <= v.width_z,
          "uvu: path ", v.paths.size(), " lies beyond its operands");
}

// The path of a plan's row, whose coupling's number (j, i, k) is coupling(j, i, k).
template <class T, class F>
void add_path(UVUPaths<T>& v, const int64_t* n, const F& coupling) {
  check_path(v, n);
  UVUPath p{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], 0, 0, lanes<T>(n[4])};
  const int64_t ld = kernels<T>().padded(p.i * p.k);
  std::vector<T> matrix(p.j * ld, T(0));
  std::vector<int32_t> row{0};
  std::vector<Entry<T>> entries;
  bool scalar = p.j == 1 && p.i == p.k;
  for (int64_t i = 0; i < p.i; i++)
    for (int64_t j = 0; j < p.j; j++) {
      for (int64_t k = 0; k < p.k; k++) {
        const T value = coupling(j, i, k);
        matrix[j * ld + i * p.k + k] = value;
        if (value != 0) entries.push_back({value, static_cast<int32_t>(k)});
        scalar = scalar && value == (i == k ? coupling(0, 0, 0) : T(0));
      }
      row.push_back(static_cast<int32_t>(entries.size()));
    }
  p.last_x = place(v.x, p.x, p.mul, p.i, p.lanes, v.last_x);
  p.last_z = place(v.z, p.z, p.mul, p.k, p.lanes, v.last_z);
  v.paths.push_back(p);
  v.coupling.push_back(std::move(matrix));
  v.row.push_back(std::move(row));
  v.entries.push_back(std::move(entries));
  v.scalar.push_back(scalar);
}

// Couplings (j, i, k), one path after the other.
template <class T>
void add_paths(UVUPaths<T>& v, const int64_t* plan, int64_t paths, const T* table, int64_t table_length) {
  for (int64_t n = 0; n < paths; n++, plan += 8) {
    check_path(v, plan);
    const int64_t I = plan[5], K = plan[7], size = I * plan[6] * K;
    require(size <= table_length, "uvu: table ends before path ", n);
    add_path(v, plan, [&](int64_t j, int64_t i, int64_t k) { return table[(j * I + i) * K + k]; });
    table += size, table_length -= size;
  }
}

template <class T>
void finish(Problem<T>& made, const int64_t* sender) {
  int64_t weights = 0, results = 0;
  for (const UVUPath& p : made.v.paths) weights += p.mul;
  for (const Rows& block : made.v.z) results += block.mul * block.size;
  made.every_weight = weights == made.v.width_w, made.every_result = results == made.v.width_z;
  made.v.order = made.order.data(), made.v.start = made.start.data(), made.v.sender = sender;
}

// Edges sorted by receiver; those of one receiver in their order.
template <class T>
void sort_edges(Problem<T>& made, const int64_t* from, const int64_t* to, int64_t edges, int64_t nodes) {
  made.order.resize(edges);
  made.start.assign(nodes + 1, 0);
  for (int64_t e = 0; e < edges; e++) {
    require(0 <= to[e] && to[e] < nodes && 0 <= from[e] && from[e] < nodes, "uvu: edge ", e, " joins atoms ", from[e],
            " and ", to[e], " of ", nodes);
    made.start[to[e] + 1]++;
  }
  for (int64_t n = 0; n < nodes; n++) made.start[n + 1] += made.start[n];
  std::vector<int64_t> next(made.start.begin(), made.start.end() - 1);
  for (int64_t e = 0; e < edges; e++) made.order[next[to[e]]++] = e;
}

// Of the kernel, for one node.
template <class T>
int64_t operations(const Problem<T>& made) {
  int64_t each = 0;
  for (const UVUPath& p : made.v.paths) each += p.mul * p.i * p.k;
  return each * made.edges() / std::max<int64_t>(1, made.nodes());
}

// Rows of x with channels last.
template <class T>
Buffer<T> turned(const Problem<T>& made, const T* x, int64_t rows, int threads) {
  const int64_t width = made.v.width_x, turned_width = made.v.last_x;
  Buffer<T> last(rows * turned_width);
  parallel_for(rows, items_per_task(width), threads, [&](int64_t first, int64_t end) {
    for (int64_t n = first; n < end; n++) channels_last(made.v.x, x + n * width, last.data() + n * turned_width);
  });
  return last;
}

// Back to e3nn's rows; blocks that no path reads are zero.
template <class T>
void turn_back(const Problem<T>& made, const T* last, T* x, int64_t rows, int threads) {
  const int64_t width = made.v.width_x, turned_width = made.v.last_x;
  ask_for_large_pages(x, rows * width * sizeof(T));
  parallel_for(rows, items_per_task(width), threads, [&](int64_t first, int64_t end) {
    for (int64_t n = first; n < end; n++) {
      std::fill(x + n * width, x + (n + 1) * width, T(0));
      components_last(made.v.x, last + n * turned_width, x + n * width);
    }
  });
}

// A result that kernels overwrite where a path writes: cleared first if some elements belong to no path.
template <class T>
void prepare(T* result, int64_t count, bool whole) {
  if (!result) return;
  ask_for_large_pages(result, count * sizeof(T));
  if (!whole) clear(result, count);
}

constexpr size_t STREAMED_BYTES = 1 << 24;

// Whether every path's blocks of w begin with a cache line.
template <class T>
bool in_lines(const UVUPaths<T>& v, const T* rows) {
  constexpr size_t line = 64;
  return reinterpret_cast<uintptr_t>(rows) % line == 0 && v.width_w * sizeof(T) % line == 0 &&
         std::all_of(v.paths.begin(), v.paths.end(), [](const UVUPath& p) { return p.w * sizeof(T) % line == 0; });
}

// Operands, gradients and results as the caller gives them, x in e3nn's layout.
template <class T>
using Arrays = UVUArrays<T>;

// z, or the gradients, or with `tangents` the tangents of all of these. Where every item has its own row of x, ranges of
// items add to rows of their own; otherwise each range of nodes gets its own sums.
template <class T>
void run(const Problem<T>& made, const Arrays<T>& arrays, int64_t rows_x, bool tangents, bool own_rows, int threads) {
  const int64_t nodes = made.nodes(), edges = made.edges();
  const Buffer<T> x = turned(made, arrays.x, rows_x, threads);
  Buffer<T> h_x, dx;
  if (arrays.h_x) h_x = turned(made, arrays.h_x, rows_x, threads);
  if (arrays.dx) dx = Buffer<T>(rows_x * made.v.last_x);
  prepare(arrays.dz, nodes * made.v.width_z, made.every_result);
  prepare(arrays.dy, edges * made.v.width_y, !made.v.paths.empty());
  prepare(arrays.dw, edges * made.v.width_w, made.every_weight);
  UVUConvolution<T> v = made.v;
  v.streams_dw = arrays.dw && edges * v.width_w * sizeof(T) >= STREAMED_BYTES && in_lines(v, arrays.dw);
  const auto kernel = !arrays.g  ? kernels<T>().uvu_values
                      : tangents ? kernels<T>().uvu_tangents
                                 : kernels<T>().uvu_gradients;
  const auto body = [&](int64_t first, int64_t last, T* sums) {
    UVUArrays<T> at = arrays;
    at.x = x.data(), at.h_x = h_x.data(), at.dx = sums;
    kernel(v, first, last, at);
  };
  const int64_t each = (!arrays.g ? 1 : tangents ? 6 : 2) * operations(made);
  const Total<T> total{dx.data(), rows_x * made.v.last_x};
  if (own_rows) {
    clear(total.data, total.count);
    parallel_for(nodes, items_per_task(each), threads,
                 [&](int64_t first, int64_t last) { body(first, last, dx.data()); });
  } else {
    add_in_order(nodes, each, threads, std::array<Total<T>, 1>{{total}},
                 [&](int64_t first, int64_t last, const auto& sums) { body(first, last, sums[0]); });
  }
  if (arrays.dx) turn_back(made, dx.data(), arrays.dx, rows_x, threads);
}

}  // namespace uvu
}  // namespace equitensor
