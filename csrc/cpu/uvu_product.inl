// z = w (x (x) y) item by item, path by path, in rows of blocks (C, 2 l + 1): the kernels of uvu_convolution.inl for one
// edge, between copies of its rows with channels last. Included once per instruction set.

// Blocks (C, 2 l + 1) of a row as blocks (2 l + 1, C), and back.
template <class T>
inline void channels_last(const std::vector<Rows>& blocks, const T* row, T* turned) {
  for (const Rows& b : blocks)
    for (int64_t c = 0; c < b.mul; c++)
      for (int64_t m = 0; m < b.size; m++) turned[b.start + m * b.mul + c] = row[b.start + c * b.size + m];
}

template <class T>
inline void components_last(const std::vector<Rows>& blocks, const T* turned, T* row) {
  for (const Rows& b : blocks)
    for (int64_t c = 0; c < b.mul; c++)
      for (int64_t m = 0; m < b.size; m++) row[b.start + c * b.size + m] = turned[b.start + m * b.mul + c];
}

// One item's operands, slopes and results with channels last.
template <class T>
struct UVUItem {
  const UVUItems<T>& v;
  UVUPass<T> pass;
  std::vector<T> memory;
  T *x, *z, *g, *h_x, *dx;

  explicit UVUItem(const UVUItems<T>& all)
      : v(all), pass(all.all), memory(3 * all.all.width_x + 2 * all.all.width_z) {
    x = memory.data(), h_x = x + v.all.width_x, dx = h_x + v.all.width_x;
    z = dx + v.all.width_x, g = z + v.all.width_z;
  }

  EQUITENSOR_INLINE void take(int64_t n, const UVUArrays<T>& at) {
    channels_last(v.x, at.x + n * v.all.width_x, x);
    if (at.h_x) channels_last(v.x, at.h_x + n * v.all.width_x, h_x);
    if (at.g) channels_last(v.z, at.g + n * v.all.width_z, g);
    std::fill(z, z + v.all.width_z, T(0));
    std::fill(dx, dx + v.all.width_x, T(0));
  }
  EQUITENSOR_INLINE void give(int64_t n, const UVUArrays<T>& at) {
    if (at.dz) components_last(v.z, z, at.dz + n * v.all.width_z);
    if (at.dx) components_last(v.x, dx, at.dx + n * v.all.width_x);
  }
};

template <class T>
void uvu_item_values(const UVUItems<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at) {
  using N = Block<T, 2>;
  UVUItem<T> item(v);
  for (int64_t n = first; n < last; n++) {
    item.take(n, at);
    for (size_t k = 0; k < v.all.paths.size(); k++) {
      const UVUPath& p = v.all.paths[k];
      item.pass.fold(p, k, at.y, &n, 1, item.pass.M);
      const T *x = item.x + p.x, *w = at.w + n * v.all.width_w + p.w;
      const PathRows<T> r{p, &x, &w, item.pass.M, 1, padded<T>(p.i * p.k)};
      T* z = item.z + p.z;
      over_channels<T>(p.mul, [&](int64_t c, int64_t channels) EQUITENSOR_LAMBDA {
        in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA { push<T, K(), N>(r, k0, c, channels, z); });
      });
    }
    item.give(n, at);
  }
}

// Gradients for the slope g; with `along`, instead, their change and that of z along the tangents.
template <class T>
void uvu_item_slopes(const UVUItems<T>& v, int64_t first, int64_t last, const UVUArrays<T>& at, bool along) {
  using N = Block<T, 2>;
  UVUItem<T> item(v);
  UVUPass<T>& pass = item.pass;
  for (int64_t n = first; n < last; n++) {
    item.take(n, at);
    for (size_t k = 0; k < v.all.paths.size(); k++) {
      const UVUPath& p = v.all.paths[k];
      const int64_t ld = padded<T>(p.i * p.k), weights = n * v.all.width_w + p.w;
      pass.fold(p, k, at.y, &n, 1, pass.M);
      if (at.h_y) pass.fold(p, k, at.h_y, &n, 1, pass.tM);
      const T *x = item.x + p.x, *w = at.w + weights, *h_x = item.h_x + p.x, *h_w = at.h_w ? at.h_w + weights : w, *g = item.g + p.z;
      T *z = item.z + p.z, *dx = item.dx + p.x, *dw = at.dw ? at.dw + weights : nullptr;
      T* const* to_x = at.dx ? &dx : nullptr;
      T* const* to_w = dw ? &dw : nullptr;
      const PathRows<T> here{p, &x, &w, pass.M, 1, ld}, moved_x{p, &h_x, &w, pass.M, 1, ld};
      const PathRows<T> moved_w{p, &x, &h_w, pass.M, 1, ld}, moved_y{p, &x, &w, pass.tM, 1, ld};
      over_channels<T>(p.mul, [&](int64_t c, int64_t channels) EQUITENSOR_LAMBDA {
        in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA {
          if (!along) {
            if (to_x || to_w) pull<T, K(), N>(here, k0, c, channels, g, to_x, to_w);
            return;
          }
          if (at.h_x) push<T, K(), N>(moved_x, k0, c, channels, z);
          if (at.h_w) push<T, K(), N>(moved_w, k0, c, channels, z);
          if (at.h_y) push<T, K(), N>(moved_y, k0, c, channels, z);
          if (at.h_x) pull<T, K(), N>(moved_x, k0, c, channels, g, nullptr, to_w);
          if (at.h_y) pull<T, K(), N>(moved_y, k0, c, channels, g, to_x, to_w);
          if (at.h_w) pull<T, K(), N>(moved_w, k0, c, channels, g, to_x, nullptr);
        });
      });
      if (!at.dy || (along && !at.h_x && !at.h_w)) continue;
      std::fill(pass.dM, pass.dM + ld, T(0));
      in_pieces(p.k, [&](auto K, int64_t k0) EQUITENSOR_LAMBDA {
        if (!along) moment<T, K(), N>(here, 0, k0, g, pass.dM);
        if (along && at.h_x) moment<T, K(), N>(moved_x, 0, k0, g, pass.dM);
        if (along && at.h_w) moment<T, K(), N>(moved_w, 0, k0, g, pass.dM);
      });
      pass.unfold(p, k, &n, 1, at.dy);
    }
    item.give(n, at);
  }
}
