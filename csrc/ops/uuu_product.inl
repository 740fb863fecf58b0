// The operators of equitensor/ops/uuu_product.py on the CPU. Their schemas, their derivatives and their forms without
// numbers are registered there.

namespace equitensor {
namespace uuu_product {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// The paths and the layout of rows as the caller gives them.
struct Form {
  const Tensor &table, &plan;
  at::IntArrayRef sizes_x, sizes_y, sizes_z;
  int64_t channels;
  bool channels_last;
};

std::vector<Component> components(at::IntArrayRef sizes, const Form& form) {
  std::vector<Component> found;
  int64_t start = 0;
  for (int64_t size : sizes) {
    for (int64_t m = 0; m < size; m++)
      found.push_back(form.channels_last ? Component{(start + m) * form.channels, 1}
                                         : Component{start * form.channels + m, size});
    start += size;
  }
  return found;
}

template <class T>
UUUProduct<T> product(const Tensor& x, const Tensor& y, const Tensor& w, const Form& form) {
  for (const Tensor* t : {&y, &w, &form.table})
    TORCH_CHECK(t->scalar_type() == x.scalar_type(), "uuu_product: x is ", x.scalar_type(), ", another operand ",
                t->scalar_type());
  UUUProduct<T> u;
  u.channels = form.channels;
  u.x = components(form.sizes_x, form), u.y = components(form.sizes_y, form), u.z = components(form.sizes_z, form);
  const int64_t d1 = u.x.size(), d2 = u.y.size(), d3 = u.z.size(), C = form.channels;
  TORCH_CHECK(x.dim() == 2 && x.size(1) == d1 * C && y.dim() == 2 && y.size(0) == x.size(0) && y.size(1) == d2 * C,
              "uuu_product: x and y have shapes ", x.sizes(), " and ", y.sizes(), ", expected (n, ", d1 * C,
              ") and (n, ", d2 * C, ")");
  TORCH_CHECK(w.dim() == 3 && (w.size(1) == x.size(0) || w.size(1) == 1) && (w.size(2) == C || w.size(2) == 1),
              "uuu_product: w has shape ", w.sizes(), ", expected (paths, ", x.size(0), " or 1, ", C, " or 1)");
  // The weights of an item: path p lies p (items) (channels) numbers further on.
  const int64_t own = w.size(2);
  u.width_w = w.size(1) > 1 ? own : 0;
  for (int64_t p = 0; p < w.size(0); p++) u.w.push_back({p * w.size(1) * own, own > 1 || C == 1 ? 1 : 0});
  const Tensor plan = form.plan.contiguous(), table = form.table.contiguous();
  const int64_t* row = plan.const_data_ptr<int64_t>();
  const T* coupling = table.const_data_ptr<T>();
  for (int64_t n = 0; n < plan.size(0); n++, row += 7) {
    const int64_t px = row[0], py = row[1], pw = row[2], pz = row[3], i = row[4], j = row[5], k = row[6];
    TORCH_CHECK(px + i <= d1 && py + j <= d2 && pz + k <= d3 && pw < w.size(0), "uuu_product: path ", n,
                " lies beyond its operands");
    for (int64_t c = 0; c < k; c++) {
      for (int64_t a = 0; a < i; a++) {
        bool any = false;
        for (int64_t b = 0; b < j; b++, coupling++)
          if (*coupling != 0) {
            u.entries.push_back({*coupling, static_cast<int32_t>(py + b)});
            any = true;
          }
        if (any) u.groups.push_back({static_cast<int32_t>(px + a), static_cast<int32_t>(u.entries.size()), 0});
      }
      u.terms.push_back({static_cast<int32_t>(pw), static_cast<int32_t>(pz + c), static_cast<int32_t>(u.groups.size())});
    }
  }
  return u;
}

template <class T>
int64_t operations(const UUUProduct<T>& u) {
  return u.entries.size() * u.channels;
}

// Weights of their own belong to one item each; weights that items share get a sum for each range of items.
template <class T, class F>
void over_items(const UUUProduct<T>& u, int64_t items, int64_t operations_each, const Tensor& dw, const F& body) {
  if (u.width_w)
    at::parallel_for(0, items, items_per_task(operations_each),
                     [&](int64_t first, int64_t last) { body(first, last, dw); });
  else
    add_in_order(items, operations_each, {dw},
                 [&](int64_t first, int64_t last, const auto& sums) { body(first, last, sums[0]); });
}

Tensor values(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& table, const Tensor& plan,
              at::IntArrayRef sizes_x, at::IntArrayRef sizes_y, at::IntArrayRef sizes_z, int64_t channels,
              bool channels_last) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  const Form form{table, plan, sizes_x, sizes_y, sizes_z, channels, channels_last};
  Tensor z;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uuu_product", [&] {
    using T = scalar_t;
    const auto u = product<T>(x, y, w, form);
    z = x.new_empty({x.size(0), static_cast<int64_t>(u.z.size()) * channels});
    UUUArrays<T> at{};
    at.x = x.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>(), at.z = space<T>(z);
    at::parallel_for(0, x.size(0), items_per_task(operations(u)), [&](int64_t first, int64_t last) {
      kernels<T>().uuu_product(u, first, last, at);
    });
  });
  return z;
}

Three gradients(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g_, bool need_x, bool need_y,
                bool need_w, const Tensor& table, const Tensor& plan, at::IntArrayRef sizes_x,
                at::IntArrayRef sizes_y, at::IntArrayRef sizes_z, int64_t channels, bool channels_last) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous(), g = g_.contiguous();
  const Form form{table, plan, sizes_x, sizes_y, sizes_z, channels, channels_last};
  Tensor dx = room(x, need_x), dy = room(y, need_y), dw = need_w ? at::zeros_like(w) : w.new_empty({0});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uuu_product_gradients", [&] {
    using T = scalar_t;
    const auto u = product<T>(x, y, w, form);
    auto body = [&](int64_t first, int64_t last, const Tensor& sum) {
      UUUArrays<T> at{};
      at.x = x.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>();
      at.g = g.const_data_ptr<T>();
      at.dx = space<T>(dx, need_x), at.dy = space<T>(dy, need_y), at.dw = space<T>(sum, need_w);
      kernels<T>().uuu_product(u, first, last, at);
    };
    over_items(u, x.size(0), 2 * operations(u), dw, body);
  });
  return {dx, dy, dw};
}

Four tangents(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g_, const Maybe& h_x_,
              const Maybe& h_y_, const Maybe& h_w_, const Tensor& table, const Tensor& plan, at::IntArrayRef sizes_x,
              at::IntArrayRef sizes_y, at::IntArrayRef sizes_z, int64_t channels, bool channels_last) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous(), g = g_.contiguous();
  const Maybe h_x = contiguous(h_x_), h_y = contiguous(h_y_), h_w = contiguous(h_w_);
  const Form form{table, plan, sizes_x, sizes_y, sizes_z, channels, channels_last};
  Tensor dg = like(g), dx = like(x), dy = like(y), dw = at::zeros_like(w);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uuu_product_tangents", [&] {
    using T = scalar_t;
    const auto u = product<T>(x, y, w, form);
    auto body = [&](int64_t first, int64_t last, const Tensor& sum) {
      const UUUArrays<T> at{x.const_data_ptr<T>(), y.const_data_ptr<T>(), w.const_data_ptr<T>(),
                            g.const_data_ptr<T>(), data<T>(h_x),          data<T>(h_y),
                            data<T>(h_w),          space<T>(dg),          space<T>(dx),
                            space<T>(dy),          space<T>(sum)};
      kernels<T>().uuu_product_along(u, first, last, at);
    };
    over_items(u, x.size(0), 6 * operations(u), dw, body);
  });
  return {dg, dx, dy, dw};
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("uuu_product", values);
  m.impl("uuu_product_gradients", gradients);
  m.impl("uuu_product_tangents", tangents);
}

}  // namespace uuu_product
}  // namespace equitensor
