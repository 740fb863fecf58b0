// z_i = sum over edges e: j -> i of w_e (x_j (x) y_e), path by path, and its derivatives. Included once per
// instruction set.
//
// The edges of a node go through in portions, some channels at a time, path after path: what a portion reads of x and w
// at those channels stays in the first cache while all paths use it, and the next portion's weights are fetched meanwhile.
// Forward, coupling and y fold into one small matrix M (2 l1 + 1, 2 l3 + 1) per edge and path. Backward, coupling and
// the gradient g fold into G_ij = sum_k W_jik g_k, once per node, and with t_j = sum_i x_i G_ij
//     dw = sum_j y_j t_j,    dy_j = sum_c w t_j,    dx_i = w sum_j y_j G_ij:
// nothing of the size (edges, paths, channels) is written but the weights' gradient, which is returned, past the caches
// where it is larger than they are. An edge goes through all paths of a block of x at once, so that what it has of x and
// dx stays in registers.
// Rows of x, and those of one node's z and g, have their channels last and padded.

// Paths by their block of x.
template <class T>
std::vector<PullGroup> pull_groups(const UVUConvolution<T>& v) {
  constexpr int64_t most_G = 8192 / EQUITENSOR_BYTES, two = 2 * Simd<T>::width;  // registers; values in two of them
  std::vector<PullGroup> groups;
  for (const Rows& block : v.x) {
    bool begins = true;
    for (size_t n = 0; n < v.paths.size(); n++) {
      const UVUPath& p = v.paths[n];
      if (p.last_x != block.last) continue;
      if (begins || groups.back().size_of_G + p.i * p.j > most_G)
        groups.push_back({p.last_x, p.i, p.lanes, p.mul, 0, {}, {}, {}});
      PullGroup& group = groups.back();
      group.paths.push_back(n);
      group.G.push_back(group.size_of_G);
      in_pieces<5>(p.j, [&](auto J, int64_t j0) {
        group.steps.push_back({p.w, p.y + j0, J(), (group.size_of_G + j0) * two, p.j * two, j0 > 0, J() == p.j});
      });
      group.size_of_G += p.i * p.j;
      begins = false;
    }
  }
  return groups;
}

// What a node's edges go through: their rows, and scratch for one portion.
template <class T>
struct UVUPass {
  using N = Block<T, 2>;
  using One = Block<T, 1>;
  const UVUConvolution<T>& v;
  const UVUArrays<T>& at;
  int64_t widest = 1, most_g = 1;
  std::vector<int64_t> matrix;  // where each path's matrices M lie
  std::vector<PullGroup> groups;
  Scratch<T> scratch;
  T *M, *tM, *filters, *G, *gradients, *g, *z, *none, *lost;
  EdgeRows<T> rows, next;

  explicit UVUPass(const UVUConvolution<T>& all, const UVUArrays<T>& arrays)
      : v(all), at(arrays), matrix(1, 0), groups(pull_groups(all)), scratch(sizes()) {
    M = scratch.take(matrix.back());
    tM = scratch.take(matrix.back());
    filters = scratch.take(PORTION * v.width_y);
    G = scratch.take(most_g * N::size);
    gradients = scratch.take(PORTION * v.width_y * One::size);
    g = scratch.take(v.last_z);
    z = scratch.take(v.last_z);
    none = scratch.take(longest());  // zeros, as all scratch is at the start
    lost = scratch.take(longest());
  }
  int64_t longest() const { return std::max(v.last_x, std::max(v.width_y, v.width_w)) + N::size; }
  int64_t sizes() {
    for (const UVUPath& p : v.paths) {
      matrix.push_back(matrix.back() + PORTION * padded<T>(p.i * p.k));
      widest = std::max(widest, p.mul);
      most_g = std::max(most_g, p.i * p.j);
    }
    for (const PullGroup& group : groups) most_g = std::max(most_g, group.size_of_G);
    return 2 * matrix.back() + PORTION * v.width_y * (1 + One::size) + most_g * N::size + 2 * v.last_z + 2 * longest();
  }

  EQUITENSOR_APART void rows_of_edges(int64_t begin, int64_t end, EdgeRows<T>& edges) const {
    edges.count = std::min(PORTION, end - begin);
    for (int64_t n = 0; n < edges.count; n++) {
      const int64_t e = v.order[begin + n], x = v.sender[e] * v.last_x;
      edges.x[n] = at.x + x;
      edges.y[n] = at.y + e * v.width_y;
      edges.w[n] = at.w + e * v.width_w;
      edges.h_x[n] = at.h_x ? at.h_x + x : none;
      edges.h_y[n] = at.h_y ? at.h_y + e * v.width_y : none;
      edges.h_w[n] = at.h_w ? at.h_w + e * v.width_w : none;
      edges.dx[n] = at.dx ? at.dx + x : lost;
      edges.dw[n] = at.dw ? at.dw + e * v.width_w : lost;
    }
  }

  EQUITENSOR_APART void gather(const T* const* y) {
    for (int64_t e = 0; e < rows.count; e++) std::copy(y[e], y[e] + v.width_y, filters + e * v.width_y);
  }
  // M (edges, ld) of the portion's edges, path after path.
  EQUITENSOR_INLINE void fold(const T* const* y, T* into) {
    gather(y);
    for (size_t n = 0; n < v.paths.size(); n++) {
      const UVUPath& p = v.paths[n];
      const int64_t ld = padded<T>(p.i * p.k);
      multiply(rows.count, ld, p.j, filters + p.y, v.width_y, 1, v.coupling[n].data(), ld, into + matrix[n], ld, false);
    }
  }

  // G_ij at the channels c ..
  EQUITENSOR_INLINE void fold_gradient(size_t n, int64_t c, T* to) {
    const UVUPath& p = v.paths[n];
    const T* gradient = g + p.last_z + c;
    const int32_t* row = v.row[n].data();
    const Entry<T>* entries = v.entries[n].data();
    for (int64_t a = 0; a < p.i * p.j; a++) {
      N sum = N::zero();
      for (int32_t t = row[a]; t < row[a + 1]; t++)
        sum += entries[t].coefficient * N::read(gradient + entries[t].second * p.lanes, N::size);
      sum.write(to + a * N::size, N::size);
    }
  }

  // dy of the portion's edges: the sums over lanes.
  EQUITENSOR_APART void unfold(T* dy) {
    for (int64_t e = 0; e < rows.count; e++) {
      T* out = dy + (rows.y[e] - at.y);
      for (int64_t j = 0; j < v.width_y; j++) {
        T total = 0;
        for (int l = 0; l < One::size; l++) total += gradients[(e * v.width_y + j) * One::size + l];
        out[j] = total;
      }
    }
  }

  // body(piece, n) for every block of channels of every path n, some channels of all paths before the next.
  template <class F>
  EQUITENSOR_INLINE void pieces(const F& body) {
    const int64_t steps = (widest + N::size - 1) / N::size * static_cast<int64_t>(v.paths.size()) * rows.count;
    Ahead<T> w(next.w, next.count, v.width_w, steps), h_w(next.h_w, at.h_w ? next.count : 0, v.width_w, steps);
    for (int64_t c = 0; c < widest; c += N::size) {
      for (size_t n = 0; n < v.paths.size(); n++) {
        const UVUPath& p = v.paths[n];
        if (c >= p.mul) continue;
        const int64_t channels = std::min<int64_t>(N::size, p.mul - c), ld = padded<T>(p.i * p.k);
        body({p, rows, w, h_w, v.scalar[n], v.streams_dw, M + matrix[n], tM + matrix[n], ld, c, channels}, n);
      }
    }
  }

  // What the portion's edges add to z.
  EQUITENSOR_APART void add_values() {
    fold(rows.y, M);
    pieces([&](const PathPiece<T>& piece, size_t) EQUITENSOR_LAMBDA {
      in_pieces<5>(piece.p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA { push<T, K(), N>(piece, k0, z); });
    });
  }

  // body(part, G) for the registers of a piece, each with its G.
  template <class F>
  EQUITENSOR_INLINE void registers(const PathPiece<T>& piece, size_t n, const F& body) {
    fold_gradient(n, piece.c, G);
    for (int64_t c = 0; c < piece.channels; c += One::size) {
      PathPiece<T> part = piece;
      part.c += c, part.channels = std::min<int64_t>(One::size, piece.channels - c);
      body(part, G + c);
    }
  }

  // body(piece) for every register of channels of every group, some channels of all groups before the next.
  template <class F>
  EQUITENSOR_INLINE void group_pieces(const F& body) {
    int64_t steps = 0;
    for (const PullGroup& group : groups) steps += static_cast<int64_t>(group.steps.size());
    steps *= (widest + One::size - 1) / One::size * rows.count;
    Ahead<T> w(next.w, next.count, v.width_w, std::max<int64_t>(1, steps));
    for (int64_t c = 0; c < widest; c += N::size) {
      for (const PullGroup& group : groups) {
        if (c >= group.mul) continue;
        for (size_t n = 0; n < group.paths.size(); n++) fold_gradient(group.paths[n], c, G + group.G[n] * N::size);
        for (int64_t part = 0; part < N::size && c + part < group.mul; part += One::size) {
          const int64_t channels = std::min<int64_t>(One::size, group.mul - c - part);
          body({group, rows, w, c + part, channels, G + part, gradients, v.width_y, v.streams_dw});
        }
      }
    }
  }

  // body() for every portion of every node's edges, between before(node) and after(node).
  template <class Before, class F, class After>
  EQUITENSOR_INLINE void portions(int64_t first, int64_t last, const Before& before, const F& body,
                                  const After& after) {
    const int64_t stop = v.start[last];
    for (int64_t node = first; node < last; node++) {
      before(node);
      for (int64_t begin = v.start[node]; begin < v.start[node + 1]; begin += PORTION) {
        rows_of_edges(begin, v.start[node + 1], rows);
        rows_of_edges(begin + rows.count, stop, next);  // whose edges these are does not matter here
        body();
      }
      after(node);
    }
  }
};

template <class T>
void uvu_values(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  UVUPass<T> pass(v, at);
  pass.portions(
      first, last, [&](int64_t) EQUITENSOR_LAMBDA { std::fill(pass.z, pass.z + v.last_z, T(0)); },
      [&]() EQUITENSOR_LAMBDA { pass.add_values(); },
      [&](int64_t node) EQUITENSOR_LAMBDA { components_last(v.z, pass.z, at.dz + node * v.width_z); });
}

template <class T, bool to_x, bool to_yw>
void uvu_wanted_gradients(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  UVUPass<T> pass(v, at);
  const int64_t lanes = Block<T, 1>::size;
  pass.portions(
      first, last,
      [&](int64_t node) EQUITENSOR_LAMBDA {
        channels_last(v.z, at.g + node * v.width_z, pass.g);
        if (at.dz) std::fill(pass.z, pass.z + v.last_z, T(0));
      },
      [&]() EQUITENSOR_LAMBDA {
        if (at.dz) pass.add_values();
        std::fill(pass.gradients, pass.gradients + pass.rows.count * v.width_y * lanes, T(0));
        pass.group_pieces([&](const GroupPiece<T>& piece) EQUITENSOR_LAMBDA {
          switch (piece.group.i) {
            case 1: return pull_group<T, 1, to_x, to_yw>(piece);
            case 3: return pull_group<T, 3, to_x, to_yw>(piece);
            case 5: return pull_group<T, 5, to_x, to_yw>(piece);
            case 7: return pull_group<T, 7, to_x, to_yw>(piece);
            default: pull_group<T, 0, to_x, to_yw>(piece);
          }
        });
        if (at.dy) pass.unfold(at.dy);
      },
      [&](int64_t node) EQUITENSOR_LAMBDA {
        if (at.dz) components_last(v.z, pass.z, at.dz + node * v.width_z);
      });
  if (v.streams_dw) streamed();
}

// The gradients in x (added to what is there), y and w for the gradient g, and z; null where not wanted.
template <class T>
void uvu_gradients(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  if (at.dx && (at.dy || at.dw)) return uvu_wanted_gradients<T, true, true>(v, first, last, at);
  if (at.dx) return uvu_wanted_gradients<T, true, false>(v, first, last, at);
  if (at.dy || at.dw) return uvu_wanted_gradients<T, false, true>(v, first, last, at);
  if (at.dz) uvu_values(v, first, last, at);
}

// Zeros in the rows of the edges of some nodes.
template <class T>
void clear_edges(const UVUConvolution<T>& v, int64_t first, int64_t last, T* rows, int64_t width) {
  for (int64_t n = v.start[first]; rows && n < v.start[last]; n++)
    std::fill(rows + v.order[n] * width, rows + (v.order[n] + 1) * width, T(0));
}

// Where one operand alone moves, Q is <g, z> with its tangent in its place, which the values and the gradients are of.
template <class T>
void uvu_tangent(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  UVUArrays<T> moved = at;
  moved.h_x = moved.h_y = moved.h_w = nullptr;
  if (at.h_x) moved.x = at.h_x, moved.dx = nullptr;
  if (at.h_y) moved.y = at.h_y, moved.dy = nullptr, clear_edges(v, first, last, at.dy, v.width_y);
  if (at.h_w) moved.w = at.h_w, moved.dw = nullptr, clear_edges(v, first, last, at.dw, v.width_w);
  uvu_gradients(v, first, last, moved);
}

// With Q the derivative of <g, z> along (h_x, h_y, h_w), null where zero: dQ/dg, dQ/dx (added), dQ/dy, dQ/dw.
template <class T>
void uvu_tangents(const UVUConvolution<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  if ((at.h_x != nullptr) + (at.h_y != nullptr) + (at.h_w != nullptr) == 1) return uvu_tangent(v, first, last, at);
  using N = Block<T, 2>;
  UVUPass<T> pass(v, at);
  const int64_t lanes = Block<T, 1>::size;
  pass.portions(
      first, last,
      [&](int64_t node) EQUITENSOR_LAMBDA {
        channels_last(v.z, at.g + node * v.width_z, pass.g);
        std::fill(pass.z, pass.z + v.last_z, T(0));
      },
      [&]() EQUITENSOR_LAMBDA {
        pass.fold(pass.rows.y, pass.M);
        pass.fold(pass.rows.h_y, pass.tM);
        std::fill(pass.gradients, pass.gradients + pass.rows.count * v.width_y * lanes, T(0));
        pass.pieces([&](const PathPiece<T>& piece, size_t n) EQUITENSOR_LAMBDA {
          in_pieces<4>(piece.p.k,
                       [&](auto K, int64_t k0) EQUITENSOR_LAMBDA { push_tangent<T, K(), N>(piece, k0, pass.z); });
          pass.registers(piece, n, [&](const PathPiece<T>& part, const T* G) EQUITENSOR_LAMBDA {
            in_pieces<5>(part.p.j, [&](auto J, int64_t j0) EQUITENSOR_LAMBDA {
              pull_tangent_yw<T, J()>(part, j0, G, pass.gradients, v.width_y);
              pull_tangent_x<T, J()>(part, j0, G);
            });
          });
        });
        if (at.dy) pass.unfold(at.dy);
      },
      [&](int64_t node) EQUITENSOR_LAMBDA {
        if (at.dz) components_last(v.z, pass.z, at.dz + node * v.width_z);
      });
  if (v.streams_dw) streamed();
}
