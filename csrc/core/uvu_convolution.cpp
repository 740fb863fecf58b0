// The uvu convolution over edges, and the uvu product of items, each of which is an edge from its row of x to its row
// of z.

#include <numeric>

#include "uvu_problem.h"

using namespace equitensor;

int equitensor_uvu_convolution(int precision, int64_t nodes, int64_t edges, int64_t width_x, int64_t width_y,
                               int64_t width_w, int64_t width_z, int64_t paths, int64_t table_length, int64_t tangents,
                               const void* x, const void* y, const void* w, const void* g, const void* h_x,
                               const void* h_y, const void* h_w, const int64_t* sender, const int64_t* receiver,
                               const void* table, const int64_t* plan, void* z, void* dx, void* dy, void* dw,
                               int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    uvu::Problem<T> made;
    uvu::sort_edges(made, sender, receiver, edges, nodes);
    made.v.width_x = width_x, made.v.width_y = width_y, made.v.width_w = width_w, made.v.width_z = width_z;
    uvu::add_paths(made.v, plan, paths, from<T>(table), table_length);
    uvu::finish(made, sender);
    const UVUArrays<T> at{from<T>(x),   from<T>(y), from<T>(w),  from<T>(g),  from<T>(h_x), from<T>(h_y),
                          from<T>(h_w), into<T>(z), into<T>(dx), into<T>(dy), into<T>(dw)};
    uvu::run(made, at, nodes, tangents != 0, false, threads);
  });
}

int equitensor_uvu_product(int precision, int64_t items, int64_t width_x, int64_t width_y, int64_t width_w,
                           int64_t width_z, int64_t paths, int64_t table_length, int64_t tangents, const void* x,
                           const void* y, const void* w, const void* g, const void* h_x, const void* h_y,
                           const void* h_w, const void* table, const int64_t* plan, void* z, void* dx, void* dy,
                           void* dw, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    uvu::Problem<T> made;
    made.order.resize(items), made.sender.resize(items), made.start.resize(items + 1);
    std::iota(made.order.begin(), made.order.end(), 0);
    std::iota(made.sender.begin(), made.sender.end(), 0);
    std::iota(made.start.begin(), made.start.end(), 0);
    made.v.width_x = width_x, made.v.width_y = width_y, made.v.width_w = width_w, made.v.width_z = width_z;
    const T* matrix = from<T>(table);
    for (int64_t begin = 0, end; begin < paths; begin = end) {  // paths of one block of x
      const int64_t *first = plan + begin * 8, I = first[5];
      int64_t total = 0, column = 0;
      for (end = begin; end < paths && plan[end * 8] == first[0]; end++) {
        require(plan[end * 8 + 5] == I, "uvu_product: paths of one block of x differ in its size");
        uvu::check_path(made.v, plan + end * 8);
        total += plan[end * 8 + 7];
      }
      require(width_y * I * total <= table_length, "uvu_product: table ends before path ", end);
      for (const int64_t* row = first; row < plan + end * 8; column += row[7], row += 8)
        uvu::add_path(made.v, row, [&](int64_t j, int64_t i, int64_t k) {
          return matrix[((row[1] + j) * I + i) * total + column + k];
        });
      matrix += width_y * I * total, table_length -= width_y * I * total;
    }
    uvu::finish(made, made.sender.data());
    const UVUArrays<T> at{from<T>(x),   from<T>(y), from<T>(w),  from<T>(g),  from<T>(h_x), from<T>(h_y),
                          from<T>(h_w), into<T>(z), into<T>(dx), into<T>(dy), into<T>(dw)};
    uvu::run(made, at, items, tangents != 0, true, threads);
  });
}
