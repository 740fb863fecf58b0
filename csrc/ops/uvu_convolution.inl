// The operators of equitensor/ops/uvu_convolution.py on the CPU. Their schemas, their derivatives and their forms
// without numbers are registered there.

namespace equitensor {
namespace uvu_convolution {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// Edges by receiver, and what the kernels know of the paths.
template <class T>
struct Problem {
  std::vector<int64_t> order, start;
  Tensor sender;
  UVUConvolution<T> v;
};

void check(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& sender, const Tensor& receiver,
           const Tensor& table, const Tensor& plan) {
  TORCH_CHECK(x.dim() == 2 && y.dim() == 2 && w.dim() == 2, "uvu_convolution: x, y and w must be matrices");
  TORCH_CHECK(y.size(0) == w.size(0) && sender.numel() == y.size(0) && receiver.numel() == y.size(0),
              "uvu_convolution: ", y.size(0), " rows of y, ", w.size(0), " of w, ", sender.numel(), " senders, ",
              receiver.numel(), " receivers: one of each per edge is needed");
  for (const Tensor* t : {&y, &w, &table})
    TORCH_CHECK(t->scalar_type() == x.scalar_type(), "uvu_convolution: x is ", x.scalar_type(), ", another operand ",
                t->scalar_type());
  TORCH_CHECK(plan.dim() == 2 && plan.size(1) == 8 && plan.scalar_type() == at::kLong,
              "uvu_convolution: plan must be (paths, 8) Long");
  TORCH_CHECK(sender.scalar_type() == at::kLong && receiver.scalar_type() == at::kLong,
              "uvu_convolution: senders and receivers must be Long");
}

template <class T>
Problem<T> problem(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& sender_, const Tensor& receiver_,
                   const Tensor& table_, const Tensor& plan_, int64_t width) {
  const Tensor receiver = receiver_.contiguous(), table = table_.contiguous(), plan = plan_.contiguous();
  const int64_t nodes = x.size(0), edges = y.size(0);
  Problem<T> made;
  made.sender = sender_.contiguous();
  made.order.resize(edges);
  made.start.assign(nodes + 1, 0);
  const int64_t *to = receiver.const_data_ptr<int64_t>(), *from = made.sender.template const_data_ptr<int64_t>();
  for (int64_t e = 0; e < edges; e++) {
    TORCH_CHECK(0 <= to[e] && to[e] < nodes && 0 <= from[e] && from[e] < nodes, "uvu_convolution: edge ", e,
                " joins atoms ", from[e], " and ", to[e], " of ", nodes);
    made.start[to[e] + 1]++;
  }
  for (int64_t n = 0; n < nodes; n++) made.start[n + 1] += made.start[n];
  std::vector<int64_t> next(made.start.begin(), made.start.end() - 1);
  for (int64_t e = 0; e < edges; e++) made.order[next[to[e]]++] = e;
  made.v = {x.size(1), y.size(1), w.size(1), width, made.order.data(), made.start.data(), from, {}, {}};
  const int64_t* row = plan.const_data_ptr<int64_t>();
  const T* coupling = table.const_data_ptr<T>();
  for (int64_t n = 0; n < plan.size(0); n++, row += 8) {
    const UVUPath p{row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]};
    TORCH_CHECK(p.x + p.mul * p.i <= x.size(1) && p.y + p.j <= y.size(1) && p.w + p.mul <= w.size(1) &&
                    p.z + p.mul * p.k <= width,
                "uvu_convolution: path ", n, " lies beyond its operands");
    const int64_t size = p.i * p.k, ld = kernels<T>().padded(size);
    std::vector<T> block(p.j * ld, T(0));
    for (int64_t j = 0; j < p.j; j++) std::copy(coupling + j * size, coupling + (j + 1) * size, block.data() + j * ld);
    coupling += p.j * size;
    made.v.paths.push_back(p);
    made.v.coupling.push_back(std::move(block));
  }
  return made;
}

template <class T>
int64_t operations(const Problem<T>& made, int64_t nodes) {
  int64_t each = 0;
  for (const UVUPath& p : made.v.paths) each += p.mul * p.i * p.k;
  return each * static_cast<int64_t>(made.order.size()) / std::max<int64_t>(1, nodes);
}

Tensor values(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& sender, const Tensor& receiver,
              const Tensor& table, const Tensor& plan, int64_t width) {
  check(x_, y_, w_, sender, receiver, table, plan);
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Tensor z = x.new_zeros({x.size(0), width});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_convolution", [&] {
    using T = scalar_t;
    const auto made = problem<T>(x, y, w, sender, receiver, table, plan, width);
    UVUArrays<T> at{};
    at.x = x.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>();
    at.dz = space<T>(z);
    at::parallel_for(0, x.size(0), items_per_task(operations(made, x.size(0))), [&](int64_t first, int64_t last) {
      kernels<T>().uvu_values(made.v, first, last, at);
    });
  });
  return z;
}

Three gradients(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g_, bool need_x, bool need_y,
                bool need_w, const Tensor& sender, const Tensor& receiver, const Tensor& table, const Tensor& plan,
                int64_t width) {
  check(x_, y_, w_, sender, receiver, table, plan);
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous(), g = g_.contiguous();
  auto zeros = [](const Tensor& like, bool need) { return need ? at::zeros_like(like) : like.new_empty({0}); };
  Tensor dx = zeros(x, need_x), dy = zeros(y, need_y), dw = zeros(w, need_w);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_convolution_gradients", [&] {
    using T = scalar_t;
    const auto made = problem<T>(x, y, w, sender, receiver, table, plan, width);
    add_in_order(x.size(0), 2 * operations(made, x.size(0)), {dx}, [&](int64_t first, int64_t last, const auto& sums) {
      UVUArrays<T> at{};
      at.x = x.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>();
      at.g = g.const_data_ptr<T>();
      at.dx = space<T>(sums[0], need_x), at.dy = space<T>(dy, need_y), at.dw = space<T>(dw, need_w);
      kernels<T>().uvu_gradients(made.v, first, last, at);
    });
  });
  return {dx, dy, dw};
}

Four tangents(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g_, const Maybe& h_x_,
              const Maybe& h_y_, const Maybe& h_w_, const Tensor& sender, const Tensor& receiver, const Tensor& table,
              const Tensor& plan, int64_t width) {
  check(x_, y_, w_, sender, receiver, table, plan);
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous(), g = g_.contiguous();
  const Maybe h_x = contiguous(h_x_), h_y = contiguous(h_y_), h_w = contiguous(h_w_);
  Tensor dg = at::zeros_like(g), dx = at::zeros_like(x), dy = at::zeros_like(y), dw = at::zeros_like(w);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_convolution_tangents", [&] {
    using T = scalar_t;
    const auto made = problem<T>(x, y, w, sender, receiver, table, plan, width);
    add_in_order(x.size(0), 4 * operations(made, x.size(0)), {dx}, [&](int64_t first, int64_t last, const auto& sums) {
      const UVUArrays<T> at{x.const_data_ptr<T>(), y.const_data_ptr<T>(), w.const_data_ptr<T>(),
                            g.const_data_ptr<T>(), data<T>(h_x),          data<T>(h_y),
                            data<T>(h_w),          space<T>(dg),          space<T>(sums[0]),
                            space<T>(dy),          space<T>(dw)};
      kernels<T>().uvu_tangents(made.v, first, last, at);
    });
  });
  return {dg, dx, dy, dw};
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("uvu_convolution", values);
  m.impl("uvu_convolution_gradients", gradients);
  m.impl("uvu_convolution_tangents", tangents);
}

}  // namespace uvu_convolution
}  // namespace equitensor
