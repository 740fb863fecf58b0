// The uvu convolution whose weights are hidden @ matrix, and its derivatives.
//
// Nodes go through in chunks, each a convolution of its own whose edges count from zero. A chunk's weights are a small
// matrix product into a buffer that stays in the cache; so does the gradient w.r.t. them, which goes on to those w.r.t. hidden
// and matrix at once.

#include <numeric>

#include "uvu_problem.h"

namespace equitensor {
namespace radial_convolution {

constexpr int64_t CHUNK_BYTES = 1 << 19;  // of weights
constexpr int64_t CHUNK_EDGES = 64;       // which may be more bytes: shorter matrix products read the matrix too often

// A matrix (rows, columns) and its transpose, their rows padded to whole registers with zeros.
template <class T>
struct Padded {
  int64_t rows = 0, columns = 0, ld = 0, turned_ld = 0;
  std::vector<T> values, turned;

  Padded() = default;
  Padded(const T* matrix, int64_t rows_, int64_t columns_) : rows(rows_), columns(columns_) {
    ld = kernels<T>().padded(columns), turned_ld = kernels<T>().padded(rows);
    values.assign(rows * ld, T(0)), turned.assign(ld * turned_ld, T(0));
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) values[r * ld + c] = turned[c * turned_ld + r] = matrix[r * columns + c];
  }
  explicit operator bool() const { return !values.empty(); }
};

// Operands, tangents (null: zero) or results of edges, in the order of their receivers.
template <class T>
struct Rows {
  const T *y = nullptr, *hidden = nullptr;
};

// A convolution with its edges in the order of their receivers; `order` is empty where they came so.
template <class T>
struct SortedEdges {
  uvu::Problem<T> made;
  std::vector<int64_t> order;
  std::vector<Buffer<T>> copies;

  // Rows of the caller's array.
  const T* sorted(const T* rows, int64_t width) {
    if (order.empty() || !rows) return rows;
    copies.emplace_back(static_cast<int64_t>(order.size()) * width);
    T* copy = copies.back().data();
    for (size_t e = 0; e < order.size(); e++)
      std::copy(rows + order[e] * width, rows + (order[e] + 1) * width, copy + e * width);
    return copy;
  }
  // Rows, `ld` apart, into the caller's array.
  void put(const T* rows, int64_t ld, int64_t width, T* to) const {
    for (int64_t e = 0; e < made.edges(); e++)
      std::copy(rows + e * ld, rows + e * ld + width, to + (order.empty() ? e : order[e]) * width);
  }
};

template <class T>
void sort(SortedEdges<T>& edges, const int64_t* sender) {
  uvu::Problem<T>& made = edges.made;
  if (std::is_sorted(made.order.begin(), made.order.end())) return;
  edges.order = made.order;
  made.sender.resize(made.order.size());
  for (size_t e = 0; e < made.order.size(); e++) made.sender[e] = sender[edges.order[e]];
  made.v.sender = made.sender.data();
  std::iota(made.order.begin(), made.order.end(), 0);
}

template <class T>
int64_t edges_of_chunk(const uvu::Problem<T>& made) {
  return std::max(CHUNK_EDGES, CHUNK_BYTES / static_cast<int64_t>(sizeof(T) * std::max<int64_t>(1, made.v.width_w)));
}

// Weights of the largest chunk, which is a node with more edges than others have together.
template <class T>
Buffer<T> buffer(const uvu::Problem<T>& made, bool zeros = false) {
  int64_t edges = edges_of_chunk(made);
  for (size_t n = 1; n < made.start.size(); n++) edges = std::max(edges, made.start[n] - made.start[n - 1]);
  edges = std::min<int64_t>(edges, made.edges());
  Buffer<T> scratch(edges * made.v.width_w);
  if (zeros) clear(scratch.data(), edges * made.v.width_w);
  return scratch;
}

// Nodes first .. last, whose edges are begin .. begin + edges.
struct Chunk {
  int64_t first, last, begin, edges;
};

// body(convolution, chunk) for the nodes first .. last.
template <class T, class F>
void in_chunks(const uvu::Problem<T>& made, int64_t first, int64_t last, const F& body) {
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

// to (edges, columns) = rows (edges, H) matrix, or +=.
template <class T>
void times(int64_t edges, const T* rows, const Padded<T>& matrix, T* to, bool add) {
  kernels<T>().matrix_product(edges, matrix.ld, matrix.rows, rows, matrix.rows, 1, matrix.values.data(), matrix.ld, to,
                              matrix.ld, add);
}
// to (edges, padded H) = rows (edges, columns) matrix^T, or +=.
template <class T>
void times_turned(int64_t edges, const T* rows, const Padded<T>& matrix, T* to, bool add) {
  kernels<T>().matrix_product(edges, matrix.turned_ld, matrix.columns, rows, matrix.ld, 1, matrix.turned.data(),
                              matrix.turned_ld, to, matrix.turned_ld, add);
}
// to (H, columns) += rows (edges, H)^T gradients (edges, columns).
template <class T>
void add_outer(int64_t edges, const T* rows, const T* gradients, const Padded<T>& like, T* to) {
  kernels<T>().matrix_product(like.rows, like.ld, edges, rows, 1, like.rows, gradients, like.ld, to, like.ld, true);
}

template <class T>
const T* at_row(const T* array, int64_t row, int64_t width) {
  return array ? array + row * width : nullptr;
}
template <class T>
T* at_row(T* array, int64_t row, int64_t width) {
  return array ? array + row * width : nullptr;
}

// Everything of one call: operands and tangents x with channels last, edges sorted; results, null where not wanted.
template <class T>
struct Call {
  SortedEdges<T> edges;
  Padded<T> matrix, h_matrix;
  Rows<T> in, h;
  const T *x = nullptr, *h_x = nullptr, *g = nullptr;
  T *z = nullptr, *dx = nullptr, *dy = nullptr, *dhidden = nullptr, *dmatrix = nullptr;
  bool tangents = false;

  bool moves_weights() const { return h.hidden || h_matrix; }
};

// The buffers of one thread.
template <class T>
struct Buffers {
  Buffer<T> w, h_w, dw;

  explicit Buffers(const Call<T>& call) : w(buffer(call.edges.made)) {
    const uvu::Problem<T>& made = call.edges.made;
    if (call.moves_weights()) h_w = buffer(made);
    if (call.dhidden || call.dmatrix) dw = buffer(made, true);  // the kernels write what belongs to paths
  }
};

template <class T>
const T* weight_tangents(const Call<T>& call, const Chunk& c, T* to) {
  const int64_t H = call.matrix.rows;
  if (call.h.hidden) times(c.edges, call.h.hidden + c.begin * H, call.matrix, to, false);
  if (call.h_matrix) times(c.edges, call.in.hidden + c.begin * H, call.h_matrix, to, call.h.hidden != nullptr);
  return call.moves_weights() ? to : nullptr;
}

// A chunk: z, or the gradients, or with `tangents` the tangents of all of these. Results of nodes and edges are written, those
// of x and matrix added.
template <class T>
void do_chunk(const Call<T>& call, const Buffers<T>& scratch, const UVUConvolution<T>& v, const Chunk& c, T* dx,
              T* dmatrix) {
  const Padded<T>& matrix = call.matrix;
  const T* hidden = call.in.hidden + c.begin * matrix.rows;
  times(c.edges, hidden, matrix, scratch.w.data(), false);
  const T* h_w = weight_tangents(call, c, scratch.h_w.data());
  UVUArrays<T> at{call.x,
                  at_row(call.in.y, c.begin, v.width_y),
                  scratch.w.data(),
                  at_row(call.g, c.first, v.width_z),
                  call.h_x,
                  at_row(call.h.y, c.begin, v.width_y),
                  h_w,
                  at_row(call.z, c.first, v.width_z),
                  dx,
                  at_row(call.dy, c.begin, v.width_y),
                  scratch.dw.data()};
  const int64_t nodes = c.last - c.first;
  if (!call.g) return kernels<T>().uvu_values(v, 0, nodes, at);
  call.tangents ? kernels<T>().uvu_tangents(v, 0, nodes, at) : kernels<T>().uvu_gradients(v, 0, nodes, at);
  T* dhidden = at_row(call.dhidden, c.begin, matrix.turned_ld);
  if (dhidden) times_turned(c.edges, at.dw, matrix, dhidden, false);
  if (dmatrix) add_outer(c.edges, hidden, at.dw, matrix, dmatrix);
  if (!h_w || !at.dw) return;
  at.dz = at.dx = at.dy = nullptr;  // the gradient w.r.t. w itself, for the factors that h_w is made of
  kernels<T>().uvu_gradients(v, 0, nodes, at);
  if (call.h_matrix && dhidden) times_turned(c.edges, at.dw, call.h_matrix, dhidden, true);
  if (call.h.hidden && dmatrix) add_outer(c.edges, call.h.hidden + c.begin * matrix.rows, at.dw, matrix, dmatrix);
}

// Results of nodes and edges straight into their arrays; those of x and matrix, to which ranges of nodes add.
template <class T>
void run(const Call<T>& call, int64_t operations_each, int threads) {
  const uvu::Problem<T>& made = call.edges.made;
  const std::array<Total<T>, 2> totals{
      {{call.dx, made.nodes() * made.v.last_x}, {call.dmatrix, call.matrix.rows * call.matrix.ld}}};
  add_in_order(made.nodes(), operations_each, threads, totals, [&](int64_t first, int64_t last, const auto& sums) {
    const Buffers<T> scratch(call);
    in_chunks(made, first, last,
              [&](const UVUConvolution<T>& v, const Chunk& c) { do_chunk(call, scratch, v, c, sums[0], sums[1]); });
  });
}

}  // namespace radial_convolution
}  // namespace equitensor

using namespace equitensor;

int equitensor_radial_convolution(int precision, int64_t nodes, int64_t edges, int64_t width_x, int64_t width_y,
                                  int64_t rows, int64_t width_w, int64_t width_z, int64_t paths, int64_t table_length,
                                  int64_t tangents, const void* x, const void* y, const void* hidden,
                                  const void* matrix, const void* g, const void* h_x, const void* h_y,
                                  const void* h_hidden, const void* h_matrix, const int64_t* sender,
                                  const int64_t* receiver, const void* table, const int64_t* plan, void* z, void* dx,
                                  void* dy, void* dhidden, void* dmatrix, int threads) {
  using namespace radial_convolution;
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    Call<T> call;
    uvu::Problem<T>& made = call.edges.made;
    uvu::sort_edges(made, sender, receiver, edges, nodes);
    made.v.width_x = width_x, made.v.width_y = width_y, made.v.width_w = width_w, made.v.width_z = width_z;
    uvu::add_paths(made.v, plan, paths, from<T>(table), table_length);
    uvu::finish(made, sender);
    sort(call.edges, sender);
    const int64_t each = uvu::operations(made) + edges * rows * width_w / std::max<int64_t>(1, nodes);
    call.matrix = Padded<T>(from<T>(matrix), rows, width_w);
    if (h_matrix) call.h_matrix = Padded<T>(from<T>(h_matrix), rows, width_w);
    made.v.width_w = call.matrix.ld;
    call.edges.copies.reserve(4);
    call.in = {call.edges.sorted(from<T>(y), width_y), call.edges.sorted(from<T>(hidden), rows)};
    call.h = {call.edges.sorted(from<T>(h_y), width_y), call.edges.sorted(from<T>(h_hidden), rows)};
    const Buffer<T> last_x = uvu::turned(made, from<T>(x), nodes, threads);
    Buffer<T> last_h_x, last_dx, sorted_dy, sorted_dhidden, padded_dmatrix;
    call.x = last_x.data(), call.g = from<T>(g), call.tangents = tangents != 0, call.z = into<T>(z);
    if (h_x) call.h_x = (last_h_x = uvu::turned(made, from<T>(h_x), nodes, threads)).data();
    if (dx) call.dx = (last_dx = Buffer<T>(nodes * made.v.last_x)).data();
    if (dy) call.dy = (sorted_dy = Buffer<T>(edges * width_y)).data();
    if (dhidden) call.dhidden = (sorted_dhidden = Buffer<T>(edges * call.matrix.turned_ld)).data();
    if (dmatrix) call.dmatrix = (padded_dmatrix = Buffer<T>(rows * call.matrix.ld)).data();
    uvu::prepare(call.z, nodes * width_z, made.every_result);
    run(call, (!g ? 1 : tangents ? 6 : 2) * each, threads);
    if (dx) uvu::turn_back(made, call.dx, into<T>(dx), nodes, threads);
    if (dy) call.edges.put(call.dy, width_y, width_y, into<T>(dy));
    if (dhidden) call.edges.put(call.dhidden, call.matrix.turned_ld, rows, into<T>(dhidden));
    for (int64_t r = 0; dmatrix && r < rows; r++)
      std::copy(call.dmatrix + r * call.matrix.ld, call.dmatrix + r * call.matrix.ld + width_w,
                into<T>(dmatrix) + r * width_w);
  });
}
