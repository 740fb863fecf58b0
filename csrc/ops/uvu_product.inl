// The operators of equitensor/ops/uvu_product.py on the CPU: each item is an edge from its row of x to its row of z.
// Their schemas, their derivatives and their forms without numbers are registered there.

namespace equitensor {
namespace uvu_product {

using namespace uvu;

// plan (paths, 8) sorted by block of x; table: for each block of x a matrix (width of y, 2 l1 + 1, all 2 l3 + 1).
template <class T>
Problem<T> problem(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& table_, const Tensor& plan_,
                   int64_t width) {
  check("uvu_product", x, y, w, table_, plan_);
  TORCH_CHECK(y.size(0) == x.size(0) && w.size(0) == x.size(0), "uvu_product: x, y and w have shapes ", x.sizes(), ", ",
              y.sizes(), ", ", w.sizes(), ", expected one row per item in each");
  const Tensor table = table_.contiguous(), plan = plan_.contiguous();
  const int64_t items = x.size(0);
  Problem<T> made;
  made.sender = at::arange(items, at::kLong);
  made.order.resize(items);
  made.start.resize(items + 1);
  std::iota(made.order.begin(), made.order.end(), 0);
  std::iota(made.start.begin(), made.start.end(), 0);
  made.v.width_x = x.size(1), made.v.width_y = y.size(1), made.v.width_w = w.size(1), made.v.width_z = width;
  const int64_t *rows = plan.const_data_ptr<int64_t>(), paths = plan.size(0);
  const T* matrix = table.const_data_ptr<T>();
  for (int64_t begin = 0, end; begin < paths; begin = end) {
    const int64_t *first = rows + begin * 8, I = first[5];
    int64_t total = 0, column = 0;
    for (end = begin; end < paths && rows[end * 8] == first[0]; end++) total += rows[end * 8 + 7];
    for (const int64_t* row = first; row < rows + end * 8; column += row[7], row += 8)
      add_path(made.v, row, [&](int64_t j, int64_t i, int64_t k) {
        return matrix[((row[1] + j) * I + i) * total + column + k];
      });
    matrix += y.size(1) * I * total;
  }
  finish(made);
  return made;
}

Tensor values(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& table, const Tensor& plan,
              int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Tensor z;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_product", [&] {
    z = uvu::values(problem<scalar_t>(x, y, w, table, plan, width), x, y, w);
  });
  return z;
}

Four slopes(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g, const std::array<bool, 3>& needs,
            const std::array<Maybe, 3>* h, const Tensor& table, const Tensor& plan, int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Four found;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_product_slopes", [&] {
    found = uvu::slopes(problem<scalar_t>(x, y, w, table, plan, width), x, y, w, g.contiguous(), needs, h, true);
  });
  return found;
}

Three gradients(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, bool need_x, bool need_y,
                bool need_w, const Tensor& table, const Tensor& plan, int64_t width) {
  auto [dg, dx, dy, dw] = slopes(x, y, w, g, {need_x, need_y, need_w}, nullptr, table, plan, width);
  return {dx, dy, dw};
}

Four tangents(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, const Maybe& h_x, const Maybe& h_y,
              const Maybe& h_w, const Tensor& table, const Tensor& plan, int64_t width) {
  const std::array<Maybe, 3> h{h_x, h_y, h_w};
  return slopes(x, y, w, g, {true, true, true}, &h, table, plan, width);
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("uvu_product", values);
  m.impl("uvu_product_gradients", gradients);
  m.impl("uvu_product_tangents", tangents);
}

}  // namespace uvu_product
}  // namespace equitensor
