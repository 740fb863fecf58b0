// The operators of equitensor/ops/uvu_convolution.py and of uvu_product.py, which are the same for edges and for items
// that are an edge each, on the CPU. Their schemas, their derivatives and their forms without numbers are registered
// there.

namespace equitensor {
namespace uvu {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

constexpr int64_t LARGE = 1 << 22;  // bytes from which fresh memory is worth asking for in large pages

// Edges by receiver, and what the kernels know of the paths.
template <class T>
struct Problem {
  std::vector<int64_t> order, start;
  Tensor sender;
  bool every_weight, every_result;  // belongs to a path
  UVUConvolution<T> v;
};

// Rows that are written once: large ones ask for large pages, whose first touch costs a tenth of that of small ones.
inline Tensor fresh(const Tensor& like, int64_t rows, int64_t columns) {
  Tensor made = at::empty({rows, columns}, like.options());
#if defined(__linux__)
  const auto bytes = static_cast<int64_t>(made.nbytes());
  if (bytes >= LARGE) {
    const auto begin = (reinterpret_cast<uintptr_t>(made.mutable_data_ptr()) + 4095) & ~uintptr_t(4095);
    madvise(reinterpret_cast<void*>(begin), bytes - 4096, MADV_HUGEPAGE);  // advice: may be refused
  }
#endif
  return made;
}

void check(const char* name, const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& table,
           const Tensor& plan) {
  TORCH_CHECK(x.dim() == 2 && y.dim() == 2 && w.dim() == 2, name, ": x, y and w must be matrices");
  for (const Tensor* t : {&y, &w, &table})
    TORCH_CHECK(t->scalar_type() == x.scalar_type(), name, ": x is ", x.scalar_type(), ", another operand ",
                t->scalar_type());
  TORCH_CHECK(plan.dim() == 2 && plan.size(1) == 8 && plan.scalar_type() == at::kLong, name,
              ": plan must be (paths, 8) Long");
}

// Where a block lies with channels last; one that is not known yet comes behind the others.
inline int64_t place(std::vector<Rows>& blocks, int64_t start, int64_t mul, int64_t size, int64_t lanes,
                     int64_t& width) {
  for (const Rows& known : blocks)
    if (known.start == start) return known.last;
  blocks.push_back({start, mul, size, width, lanes});
  width += size * lanes;
  return blocks.back().last;
}

// Channels in whole pairs of registers, which is how the kernels read and write them.
template <class T>
int64_t lanes(int64_t channels) {
  return 2 * kernels<T>().padded((channels + 1) / 2);
}

// The path of a plan's row, whose coupling's number (j, i, k) is coupling(j, i, k).
template <class T, class F>
void add_path(UVUPaths<T>& v, const int64_t* n, const F& coupling) {
  UVUPath p{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], 0, 0, lanes<T>(n[4])};
  TORCH_CHECK(p.x + p.mul * p.i <= v.width_x && p.y + p.j <= v.width_y && p.w + p.mul <= v.width_w &&
                  p.z + p.mul * p.k <= v.width_z,
              "uvu: path ", v.paths.size(), " lies beyond its operands");
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

template <class T>
void finish(Problem<T>& made) {
  int64_t weights = 0, results = 0;
  for (const UVUPath& p : made.v.paths) weights += p.mul;
  for (const Rows& block : made.v.z) results += block.mul * block.size;
  made.every_weight = weights == made.v.width_w, made.every_result = results == made.v.width_z;
  made.v.order = made.order.data(), made.v.start = made.start.data();
  made.v.sender = made.sender.template const_data_ptr<int64_t>();
}

// Edges sorted by receiver; those of one receiver in their order.
template <class T>
void sort_edges(const char* name, Problem<T>& made, const Tensor& sender, const Tensor& receiver_, int64_t nodes) {
  const Tensor receiver = receiver_.contiguous();
  const int64_t edges = receiver.numel();
  made.sender = sender.contiguous();
  made.order.resize(edges);
  made.start.assign(nodes + 1, 0);
  const int64_t *to = receiver.const_data_ptr<int64_t>(), *from = made.sender.template const_data_ptr<int64_t>();
  for (int64_t e = 0; e < edges; e++) {
    TORCH_CHECK(0 <= to[e] && to[e] < nodes && 0 <= from[e] && from[e] < nodes, name, ": edge ", e, " joins atoms ",
                from[e], " and ", to[e], " of ", nodes);
    made.start[to[e] + 1]++;
  }
  for (int64_t n = 0; n < nodes; n++) made.start[n + 1] += made.start[n];
  std::vector<int64_t> next(made.start.begin(), made.start.end() - 1);
  for (int64_t e = 0; e < edges; e++) made.order[next[to[e]]++] = e;
}

template <class T>
int64_t operations(const Problem<T>& made) {
  int64_t each = 0;
  for (const UVUPath& p : made.v.paths) each += p.mul * p.i * p.k;
  const int64_t nodes = static_cast<int64_t>(made.start.size()) - 1;
  return each * static_cast<int64_t>(made.order.size()) / std::max<int64_t>(1, nodes);
}

// Rows of x with channels last.
template <class T>
Tensor turned(const Problem<T>& made, const Tensor& x) {
  Tensor last = fresh(x, x.size(0), made.v.last_x);
  const T* from = x.const_data_ptr<T>();
  T* to = last.mutable_data_ptr<T>();
  const int64_t width = x.size(1), turned_width = made.v.last_x;
  at::parallel_for(0, x.size(0), items_per_task(width), [&](int64_t first, int64_t end) {
    for (int64_t n = first; n < end; n++) channels_last(made.v.x, from + n * width, to + n * turned_width);
  });
  return last;
}

// Back to e3nn's rows; blocks that no path reads are zero.
template <class T>
Tensor turned_back(const Problem<T>& made, const Tensor& last) {
  const int64_t width = made.v.width_x, turned_width = made.v.last_x;
  Tensor x = fresh(last, last.size(0), width);
  const T* from = last.const_data_ptr<T>();
  T* to = x.mutable_data_ptr<T>();
  at::parallel_for(0, last.size(0), items_per_task(width), [&](int64_t first, int64_t end) {
    for (int64_t n = first; n < end; n++) {
      std::fill(to + n * width, to + (n + 1) * width, T(0));
      components_last(made.v.x, from + n * turned_width, to + n * width);
    }
  });
  return x;
}

// What is to be written by the kernels, which write every number of a path: zeros where a number may have none.
inline Tensor result(const Tensor& like, bool wanted, bool whole) {
  if (!wanted) return like.new_empty({0});
  return whole ? fresh(like, like.size(0), like.size(1)) : at::zeros_like(like);
}

template <class T>
Tensor values(const Problem<T>& made, const Tensor& x, const Tensor& y, const Tensor& w) {
  const int64_t nodes = static_cast<int64_t>(made.start.size()) - 1;
  Tensor z = made.every_result ? fresh(x, nodes, made.v.width_z) : at::zeros({nodes, made.v.width_z}, x.options());
  const Tensor rows = turned(made, x);
  UVUArrays<T> at{};
  at.x = rows.const_data_ptr<T>(), at.y = y.const_data_ptr<T>(), at.w = w.const_data_ptr<T>(), at.dz = space<T>(z);
  at::parallel_for(0, nodes, items_per_task(operations(made)), [&](int64_t first, int64_t last) {
    kernels<T>().uvu_values(made.v, first, last, at);
  });
  return z;
}

// The gradients, or with tangents h their change and that of z. Where every item has its own row of x, ranges of items
// add to rows of their own; otherwise each range of nodes gets its own sums.
template <class T>
Four slopes(const Problem<T>& made, const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g,
            const std::array<bool, 3>& needs, const std::array<Maybe, 3>* h, bool own_rows) {
  const Tensor rows = turned(made, x);
  Maybe h_x, h_y, h_w;
  if (h) h_x = contiguous((*h)[0]), h_y = contiguous((*h)[1]), h_w = contiguous((*h)[2]);
  if (h_x) h_x = turned(made, *h_x);
  Tensor dg = result(g, h != nullptr, made.every_result);
  Tensor dx = needs[0] ? at::zeros_like(rows) : x.new_empty({0});
  Tensor dy = result(y, needs[1], true), dw = result(w, needs[2], made.every_weight);
  const auto run = [&](int64_t first, int64_t last, const Tensor& sums) {
    const UVUArrays<T> at{rows.const_data_ptr<T>(), y.const_data_ptr<T>(),   w.const_data_ptr<T>(),
                          g.const_data_ptr<T>(),    data<T>(h_x),            data<T>(h_y),
                          data<T>(h_w),             space<T>(dg, h != nullptr), space<T>(sums, needs[0]),
                          space<T>(dy, needs[1]),   space<T>(dw, needs[2])};
    h ? kernels<T>().uvu_tangents(made.v, first, last, at) : kernels<T>().uvu_gradients(made.v, first, last, at);
  };
  const int64_t nodes = g.size(0), each = (h ? 6 : 2) * operations(made);
  if (own_rows)
    at::parallel_for(0, nodes, items_per_task(each), [&](int64_t first, int64_t last) { run(first, last, dx); });
  else
    add_in_order(nodes, each, {dx}, [&](int64_t first, int64_t last, const auto& sums) { run(first, last, sums[0]); });
  return {dg, needs[0] ? turned_back(made, dx) : dx, dy, dw};
}

}  // namespace uvu

namespace uvu_convolution {

using namespace uvu;

// What `name` goes through: edges with rows of y and of `own` (weights, or what they are made of), `weights` each.
template <class T>
Problem<T> problem(const char* name, const Tensor& x, const Tensor& y, const Tensor& own, int64_t weights,
                   const Tensor& sender, const Tensor& receiver, const Tensor& table_, const Tensor& plan_,
                   int64_t width) {
  check(name, x, y, own, table_, plan_);
  TORCH_CHECK(y.size(0) == own.size(0) && sender.numel() == y.size(0) && receiver.numel() == y.size(0), name, ": ",
              y.size(0), " rows of y, ", own.size(0), " of w, ", sender.numel(), " senders, ", receiver.numel(),
              " receivers: one of each per edge is needed");
  TORCH_CHECK(sender.scalar_type() == at::kLong && receiver.scalar_type() == at::kLong, name,
              ": senders and receivers must be Long");
  const Tensor table = table_.contiguous(), plan = plan_.contiguous();
  Problem<T> made;
  sort_edges(name, made, sender, receiver, x.size(0));
  made.v.width_x = x.size(1), made.v.width_y = y.size(1), made.v.width_w = weights, made.v.width_z = width;
  const int64_t* row = plan.const_data_ptr<int64_t>();
  const T* block = table.const_data_ptr<T>();
  for (int64_t n = 0; n < plan.size(0); n++, row += 8) {
    const int64_t I = row[5], J = row[6], K = row[7];
    add_path(made.v, row, [&](int64_t j, int64_t i, int64_t k) { return block[(j * I + i) * K + k]; });
    block += I * J * K;
  }
  finish(made);
  return made;
}

template <class T>
Problem<T> problem(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& sender, const Tensor& receiver,
                   const Tensor& table, const Tensor& plan, int64_t width) {
  return problem<T>("uvu_convolution", x, y, w, w.size(-1), sender, receiver, table, plan, width);
}

Tensor values(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& sender, const Tensor& receiver,
              const Tensor& table, const Tensor& plan, int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Tensor z;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_convolution", [&] {
    z = uvu::values(problem<scalar_t>(x, y, w, sender, receiver, table, plan, width), x, y, w);
  });
  return z;
}

Four slopes(const Tensor& x_, const Tensor& y_, const Tensor& w_, const Tensor& g, const std::array<bool, 3>& needs,
            const std::array<Maybe, 3>* h, const Tensor& sender, const Tensor& receiver, const Tensor& table,
            const Tensor& plan, int64_t width) {
  const Tensor x = x_.contiguous(), y = y_.contiguous(), w = w_.contiguous();
  Four found;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "uvu_convolution_slopes", [&] {
    const auto made = problem<scalar_t>(x, y, w, sender, receiver, table, plan, width);
    found = uvu::slopes(made, x, y, w, g.contiguous(), needs, h, false);
  });
  return found;
}

Three gradients(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, bool need_x, bool need_y,
                bool need_w, const Tensor& sender, const Tensor& receiver, const Tensor& table, const Tensor& plan,
                int64_t width) {
  auto [dg, dx, dy, dw] =
      slopes(x, y, w, g, {need_x, need_y, need_w}, nullptr, sender, receiver, table, plan, width);
  return {dx, dy, dw};
}

Four tangents(const Tensor& x, const Tensor& y, const Tensor& w, const Tensor& g, const Maybe& h_x, const Maybe& h_y,
              const Maybe& h_w, const Tensor& sender, const Tensor& receiver, const Tensor& table, const Tensor& plan,
              int64_t width) {
  const std::array<Maybe, 3> h{h_x, h_y, h_w};
  return slopes(x, y, w, g, {true, true, true}, &h, sender, receiver, table, plan, width);
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("uvu_convolution", values);
  m.impl("uvu_convolution_gradients", gradients);
  m.impl("uvu_convolution_tangents", tangents);
}

}  // namespace uvu_convolution
}  // namespace equitensor
