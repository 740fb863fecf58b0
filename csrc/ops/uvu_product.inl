// The operators of equitensor/ops/uvu_product.py on the CPU. Their schemas, their derivatives and their forms without
// numbers are registered there.

namespace equitensor {
namespace uvu_product {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// plan (paths, 8) sorted by block of x; table: for each block of x a matrix (width of y, 2 l1 + 1, all 2 l3 + 1).
template <class T>
UVUItems<T> items(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& table_, const Tensor& plan_,
                  int64_t width) {
  TORCH_CHECK(x.dim() == 2 && y.dim() == 2 && w.dim() == 2 && y.size(0) == x.size(0) && w.size(0) == x.size(0),
              "uvu_product: x, y and w have shapes ", x.sizes(), ", ", y.sizes(), ", ", w.sizes(),
              ", expected one row per item in each");
  for (const Tensor* t : {&y, &w, &table_})
    TORCH_CHECK(t->scalar_type() == x.scalar_type(), "uvu_product: x is ", x.scalar_type(), ", another operand ",
                t->scalar_type());
  const Tensor table = table_.contiguous(), plan = plan_.contiguous();
  UVUItems<T> v;
  v.all = {x.size(1), y.size(1), w.size(1), width, nullptr, nullptr, nullptr, {}, {}};
  const int64_t *row = plan.const_data_ptr<int64_t>(), paths = plan.size(0);
  for (int64_t n = 0; n < paths; n++, row += 8)
    v.all.paths.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]});
  const T* matrix = table.const_data_ptr<T>();
  for (int64_t begin = 0; begin < paths;) {
    int64_t end = begin, total = 0;
    for (; end < paths && v.all.paths[end].x == v.all.paths[begin].x; end++) total += v.all.paths[end].k;
    const UVUPath& block = v.all.paths[begin];
    v.x.push_back({block.x, block.mul, block.i});
    int64_t column = 0;
    for (int64_t n = begin; n < end; column += v.all.paths[n].k, n++) {
      const UVUPath& p = v.all.paths[n];
      TORCH_CHECK(p.x + p.mul * p.i <= x.size(1) && p.y + p.j <= y.size(1) && p.w + p.mul <= w.size(1) &&
                      p.z + p.mul * p.k <= width,
                  "uvu_product: path ", n, " lies beyond its operands");
      const int64_t ld = kernels<T>().padded(p.i * p.k);
      std::vector<T> coupling(p.j * ld, T(0));
      for (int64_t j = 0; j < p.j; j++)
        for (int64_t i = 0; i < p.i; i++)
          for (int64_t k = 0; k < p.k; k++)
            coupling[j * ld + i * p.k + k] = matrix[((p.y + j) * p.i + i) * total + column + k];
      v.all.coupling.push_back(std::move(coupling));
      bool known = false;
      for (const Rows& z : v.z) known |= z.start == p.z;
      if (!known) v.z.push_back({p.z, p.mul, p.k});
    }
    matrix += y.size(1) * block.i * total;
    begin = end;
  }
  return v;
}

template <class T>
int64_t operations(const UVUItems<T>& v) {
  int64_t each = 0;
  for (const UVUPath& p : v.all.paths) each += p.mul * p.i * p.k;
  return each;
}

Tensor values(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& table, const Tensor& plan,
              int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Tensor z = x.new_zeros({x.size(0), width});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_product", [&] {
    using T = scalar_t;
    const auto v = items<T>(x, y, w, table, plan, width);
    UVUArrays<T> at{};
    at.x = x.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>(), at.dz = space<T>(z);
    at::parallel_for(0, x.size(0), items_per_task(operations(v)), [&](int64_t first, int64_t last) {
      kernels<T>().uvu_item_values(v, first, last, at);
    });
  });
  return z;
}

// The gradients, or with tangents their change and that of z.
Four slopes(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g_, const std::array<Maybe, 3>* h,
            std::array<bool, 3> needs, const Tensor& table, const Tensor& plan, int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous(), g = g_.contiguous();
  std::array<Maybe, 3> along;
  for (int k = 0; h && k < 3; k++) along[k] = contiguous((*h)[k]);
  auto zeros = [](const Tensor& like, bool need) { return need ? at::zeros_like(like) : like.new_empty({0}); };
  Tensor dx = zeros(x, needs[0]), dy = zeros(y, needs[1]), dw = zeros(w, needs[2]), dg = zeros(g, h != nullptr);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_product_slopes", [&] {
    using T = scalar_t;
    const auto v = items<T>(x, y, w, table, plan, width);
    const UVUArrays<T> at{x.const_data_ptr<T>(),   y.const_data_ptr<T>(),   w.const_data_ptr<T>(),
                          g.const_data_ptr<T>(),   data<T>(along[0]),       data<T>(along[1]),
                          data<T>(along[2]),       space<T>(dg, h != nullptr), space<T>(dx, needs[0]),
                          space<T>(dy, needs[1]),  space<T>(dw, needs[2])};
    at::parallel_for(0, x.size(0), items_per_task(4 * operations(v)), [&](int64_t first, int64_t last) {
      kernels<T>().uvu_item_slopes(v, first, last, at, h != nullptr);
    });
  });
  return {dg, dx, dy, dw};
}

Three gradients(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, bool need_x, bool need_y,
                bool need_w, const Tensor& table, const Tensor& plan, int64_t width) {
  auto [dg, dx, dy, dw] = slopes(x, y, w, g, nullptr, {need_x, need_y, need_w}, table, plan, width);
  return {dx, dy, dw};
}

Four tangents(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, const Maybe& h_x, const Maybe& h_y,
              const Maybe& h_w, const Tensor& table, const Tensor& plan, int64_t width) {
  const std::array<Maybe, 3> h{h_x, h_y, h_w};
  return slopes(x, y, w, g, &h, {true, true, true}, table, plan, width);
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("uvu_product", values);
  m.impl("uvu_product_gradients", gradients);
  m.impl("uvu_product_tangents", tangents);
}

}  // namespace uvu_product
}  // namespace equitensor
