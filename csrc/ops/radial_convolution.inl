// The operators of equitensor/ops/radial_convolution.py on the CPU: the uvu convolution whose weights are hidden @ matrix.
// Their schemas, their derivatives and their forms without numbers are registered there.
//
// Nodes go through in chunks, each a convolution of its own whose edges count from zero. A chunk's weights are a small
// matrix product into a buffer that stays in the cache; so does the gradient by them, which goes on to those by hidden
// and matrix at once.

namespace equitensor {
namespace radial_convolution {

using namespace uvu;
using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

constexpr int64_t CHUNK_BYTES = 1 << 19;  // of weights
constexpr int64_t CHUNK_EDGES = 64;       // which may be more bytes: shorter matrix products read the matrix too often

// Operands, tangents (undefined where zero) or results (without elements where not wanted); x may have channels last.
struct Parts {
  Tensor x, y, hidden, matrix;
};

// Nodes first .. last, whose edges are begin .. begin + edges.
struct Chunk {
  int64_t first, last, begin, edges;
  Tensor rows(const Tensor& t) const { return t.narrow(0, begin, edges); }
};

// A problem with its edges in the order of their receivers, and the way there; `order` is undefined where they came so.
template <class T>
struct SortedEdges {
  Problem<T> made;
  Tensor order;

  Tensor sorted(const Tensor& t) const { return order.defined() ? t.index_select(0, order) : t.contiguous(); }
  Tensor as_given(const Tensor& t) const {
    return order.defined() && t.numel() ? at::empty_like(t).index_copy_(0, order, t) : t;
  }
};

template <class T>
SortedEdges<T> sorted_edges(const Parts& in, const Tensor& sender, const Tensor& receiver, const Tensor& table,
                            const Tensor& plan, int64_t width) {
  const Tensor &hidden = in.hidden, &matrix = in.matrix;
  TORCH_CHECK(hidden.dim() == 2 && matrix.dim() == 2 && hidden.size(1) == matrix.size(0),
              "radial_convolution: hidden and matrix have shapes ", hidden.sizes(), " and ", matrix.sizes(),
              ", expected (edges, H) and (H, weights)");
  TORCH_CHECK(matrix.scalar_type() == in.x.scalar_type(), "radial_convolution: x is ", in.x.scalar_type(), ", matrix ",
              matrix.scalar_type());
  SortedEdges<T> found{uvu_convolution::problem<T>("radial_convolution", in.x, in.y, hidden, matrix.size(1), sender,
                                                   receiver, table, plan, width),
                       {}};
  Problem<T>& made = found.made;
  if (std::is_sorted(made.order.begin(), made.order.end())) return found;
  found.order = at::tensor(made.order);
  made.sender = made.sender.index_select(0, found.order);
  made.v.sender = made.sender.template const_data_ptr<int64_t>();
  std::iota(made.order.begin(), made.order.end(), 0);
  return found;
}

template <class T>
int64_t edges_of_chunk(const Problem<T>& made) {
  return std::max(CHUNK_EDGES, CHUNK_BYTES / static_cast<int64_t>(sizeof(T) * std::max<int64_t>(1, made.v.width_w)));
}

// Weights of the largest chunk, which is a node with more edges than others have together.
template <class T>
Tensor buffer(const Problem<T>& made, const Tensor& like, bool zeros = false) {
  int64_t edges = edges_of_chunk(made);
  for (size_t n = 1; n < made.start.size(); n++) edges = std::max(edges, made.start[n] - made.start[n - 1]);
  edges = std::min<int64_t>(edges, made.order.size());
  return zeros ? at::zeros({edges, made.v.width_w}, like.options())
               : at::empty({edges, made.v.width_w}, like.options());
}

// body(convolution, chunk) for the nodes first .. last.
template <class T, class F>
void in_chunks(const Problem<T>& made, int64_t first, int64_t last, const F& body) {
  const int64_t most = edges_of_chunk(made);
  UVUConvolution<T> v = made.v;
  std::vector<int64_t> start;
  for (int64_t node = first, end; node < last; node = end) {
    const int64_t begin = made.start[node];
    start.assign(1, 0);
    for (end = node; end < last && (end == node || made.start[end + 1] - begin <= most); end++)
      start.push_back(made.start[end + 1] - begin);
    v.start = start.data(), v.sender = made.v.sender + begin;
    body(v, Chunk{node, end, begin, start.back()});
  }
}

// rows @ matrix, in a buffer.
inline Tensor product(const Tensor& buffer, const Tensor& rows, const Tensor& matrix) {
  Tensor out = buffer.narrow(0, 0, rows.size(0));
  at::mm_out(out, rows, matrix);
  return out;
}

template <class T>
const T* from(const Tensor& t, int64_t row) {
  return t.defined() ? t.const_data_ptr<T>() + row * t.size(1) : nullptr;
}
template <class T>
T* into(const Tensor& t, int64_t row) {
  return t.defined() && t.numel() ? t.mutable_data_ptr<T>() + row * t.size(1) : nullptr;
}

// The kernel's work for a node, and the matrix product's.
template <class T>
int64_t work(const Problem<T>& made, const Parts& in) {
  const int64_t nodes = std::max<int64_t>(1, in.x.size(0));
  return operations(made) + in.hidden.size(0) * in.matrix.numel() / nodes;
}

template <class T>
Tensor values_of(const SortedEdges<T>& edges, const Parts& given) {
  const Problem<T>& made = edges.made;
  const Parts in{turned(made, given.x), edges.sorted(given.y), edges.sorted(given.hidden), given.matrix};
  const int64_t nodes = in.x.size(0), width = made.v.width_z;
  const Tensor z = made.every_result ? fresh(in.x, nodes, width) : at::zeros({nodes, width}, in.x.options());
  at::parallel_for(0, nodes, items_per_task(work(made, in)), [&](int64_t first, int64_t last) {
    at::AutoDispatchBelowADInplaceOrView guard;  // other threads know nothing of the caller's
    const Tensor weights = buffer(made, in.x);
    in_chunks(made, first, last, [&](const UVUConvolution<T>& v, const Chunk& c) {
      const Tensor w = product(weights, c.rows(in.hidden), in.matrix);
      UVUArrays<T> arrays{};
      arrays.x = from<T>(in.x, 0), arrays.y = from<T>(in.y, c.begin), arrays.w = from<T>(w, 0);
      arrays.dz = into<T>(z, c.first);
      kernels<T>().uvu_values(v, 0, c.last - c.first, arrays);
    });
  });
  return z;
}

// The gradients of a chunk, or with tangents their change and that of z. Results of nodes and edges are written, those
// of x and matrix added.
template <class T>
struct SlopePass {
  const Parts &in, &along, &out;
  const Tensor &g, &dg;
  Tensor weights, along_weights, slopes;

  void operator()(const UVUConvolution<T>& v, const Chunk& c, const Tensor& dx, const Tensor& dmatrix) const {
    const Tensor hidden = c.rows(in.hidden), w = product(weights, hidden, in.matrix), h_w = tangent(c, hidden);
    const Tensor dw = slopes.defined() ? slopes.narrow(0, 0, c.edges) : slopes;
    UVUArrays<T> arrays{from<T>(in.x, 0),    from<T>(in.y, c.begin), from<T>(w, 0),        from<T>(g, c.first),
                        from<T>(along.x, 0), from<T>(along.y, c.begin), from<T>(h_w, 0),   into<T>(dg, c.first),
                        into<T>(dx, 0),      into<T>(out.y, c.begin),   into<T>(dw, 0)};
    const int64_t nodes = c.last - c.first;
    dg.numel() ? kernels<T>().uvu_tangents(v, 0, nodes, arrays) : kernels<T>().uvu_gradients(v, 0, nodes, arrays);
    Tensor dhidden = out.hidden.numel() ? c.rows(out.hidden) : Tensor();
    if (dhidden.defined()) at::mm_out(dhidden, dw, in.matrix.t());
    if (dmatrix.numel()) dmatrix.addmm_(hidden.t(), dw);
    if (!h_w.defined()) return;
    arrays.dx = arrays.dy = nullptr;  // the slope by w itself, for the factors that h_w is made of
    kernels<T>().uvu_gradients(v, 0, nodes, arrays);
    if (along.matrix.defined() && dhidden.defined()) dhidden.addmm_(dw, along.matrix.t());
    if (along.hidden.defined() && dmatrix.numel()) dmatrix.addmm_(c.rows(along.hidden).t(), dw);
  }

  Tensor tangent(const Chunk& c, const Tensor& hidden) const {
    Tensor h_w;
    if (along.hidden.defined()) h_w = product(along_weights, c.rows(along.hidden), in.matrix);
    if (!along.matrix.defined()) return h_w;
    return h_w.defined() ? h_w.addmm_(hidden, along.matrix) : product(along_weights, hidden, along.matrix);
  }
};

template <class T>
Five slopes_of(const SortedEdges<T>& edges, const Parts& given, const Tensor& g, const std::array<bool, 4>& needs,
               const Parts* h) {
  const Problem<T>& made = edges.made;
  const Parts in{turned(made, given.x), edges.sorted(given.y), edges.sorted(given.hidden), given.matrix};
  Parts along;
  if (h && h->x.defined()) along.x = turned(made, h->x.contiguous());
  if (h && h->y.defined()) along.y = edges.sorted(h->y);
  if (h && h->hidden.defined()) along.hidden = edges.sorted(h->hidden);
  if (h && h->matrix.defined()) along.matrix = h->matrix.contiguous();
  const Parts out{needs[0] ? at::zeros_like(in.x) : in.x.new_empty({0}), result(in.y, needs[1], true),
                  result(in.hidden, needs[2], true),
                  needs[3] ? at::zeros_like(in.matrix) : in.matrix.new_empty({0})};
  const Tensor dg = result(g, h != nullptr, made.every_result);
  const int64_t each = (h ? 6 : 2) * work(made, in);
  add_in_order(g.size(0), each, {out.x, out.matrix}, [&](int64_t first, int64_t last, const auto& sums) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const bool along_w = along.hidden.defined() || along.matrix.defined();
    const SlopePass<T> pass{in, along, out, g, dg, buffer(made, in.x), along_w ? buffer(made, in.x) : Tensor(),
                            needs[2] || needs[3] ? buffer(made, in.x, !made.every_weight) : Tensor()};
    in_chunks(made, first, last,
              [&](const UVUConvolution<T>& v, const Chunk& c) { pass(v, c, sums[0], sums[1]); });
  });
  return {dg, needs[0] ? turned_back(made, out.x) : out.x, edges.as_given(out.y), edges.as_given(out.hidden),
          out.matrix};
}

Tensor values(const Tensor& x, const Tensor& y, const Tensor& hidden, const Tensor& matrix, const Tensor& sender,
              const Tensor& receiver, const Tensor& table, const Tensor& plan, int64_t width) {
  const Parts in{x.contiguous(), y, hidden, matrix.contiguous()};
  Tensor z;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "radial_convolution", [&] {
    z = values_of(sorted_edges<scalar_t>(in, sender, receiver, table, plan, width), in);
  });
  return z;
}

Five slopes(const Parts& given, const Tensor& g, const std::array<bool, 4>& needs, const Parts* h,
            const Tensor& sender, const Tensor& receiver, const Tensor& table, const Tensor& plan, int64_t width) {
  const Parts in{given.x.contiguous(), given.y, given.hidden, given.matrix.contiguous()};
  Five found;
  AT_DISPATCH_FLOATING_TYPES(in.x.scalar_type(), "radial_convolution_slopes", [&] {
    const auto edges = sorted_edges<scalar_t>(in, sender, receiver, table, plan, width);
    found = slopes_of(edges, in, g.contiguous(), needs, h);
  });
  return found;
}

Four gradients(const Tensor& x, const Tensor& y, const Tensor& hidden, const Tensor& matrix, const Tensor& g,
               bool need_x, bool need_y, bool need_hidden, bool need_matrix, const Tensor& sender,
               const Tensor& receiver, const Tensor& table, const Tensor& plan, int64_t width) {
  auto [dg, dx, dy, dhidden, dmatrix] =
      slopes({x, y, hidden, matrix}, g, {need_x, need_y, need_hidden, need_matrix}, nullptr, sender, receiver, table,
             plan, width);
  return {dx, dy, dhidden, dmatrix};
}

Five tangents(const Tensor& x, const Tensor& y, const Tensor& hidden, const Tensor& matrix, const Tensor& g,
              const Maybe& h_x, const Maybe& h_y, const Maybe& h_hidden, const Maybe& h_matrix, const Tensor& sender,
              const Tensor& receiver, const Tensor& table, const Tensor& plan, int64_t width) {
  const auto or_none = [](const Maybe& t) { return t ? *t : Tensor(); };
  const Parts h{or_none(h_x), or_none(h_y), or_none(h_hidden), or_none(h_matrix)};
  return slopes({x, y, hidden, matrix}, g, {true, true, true, true}, &h, sender, receiver, table, plan, width);
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("radial_convolution", values);
  m.impl("radial_convolution_gradients", gradients);
  m.impl("radial_convolution_tangents", tangents);
}

}  // namespace radial_convolution
}  // namespace equitensor
