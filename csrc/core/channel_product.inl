// z_k = sum of c x_i y_j over the entries (k, i, j, c) of a sparse tensor, channel by channel, for items first..last.
// Included once per instruction set. A group is the entries of one (k, i): x_i is multiplied once.

template <class T, int V>
inline void product_block(const ProductPlan<T>& plan, const T* x, const T* y, T* z, int64_t ld, int64_t ld_z) {
  constexpr int W = Simd<T>::width;
  const Entry<T>* entry = plan.entries.data();
  const Group* group = plan.groups.data();
  for (int64_t k = 0; k < plan.size_out; k++) {
    vec<T> sum[V] = {};
    for (const Group* end = plan.groups.data() + plan.row[k + 1]; group < end; group++) {
      vec<T> inner[V] = {};
      for (const Entry<T>* stop = plan.entries.data() + group->end; entry < stop; entry++) {
        const vec<T> factor = splat(entry->coefficient);
        for (int v = 0; v < V; v++) inner[v] += factor * load(y + entry->second * ld + v * W);
      }
      for (int v = 0; v < V; v++) sum[v] += inner[v] * load(x + group->first * ld + v * W);
    }
    for (int v = 0; v < V; v++) store(z + k * ld_z + v * W, sum[v]);
  }
}

template <class T>
void channel_product(const ProductPlan<T>& plan, int64_t first, int64_t last, int64_t C, const T* x, const T* y, T* z) {
  constexpr int W = Simd<T>::width;
  const int64_t dx = plan.size_first, dy = plan.size_second, dz = plan.size_out;
  std::vector<T> tail((dx + dy + dz) * W);
  T *xt = tail.data(), *yt = xt + dx * W, *zt = yt + dy * W;
  for (int64_t n = first; n < last; n++) {
    const T *xn = x + n * dx * C, *yn = y + n * dy * C;
    T* zn = z + n * dz * C;
    int64_t c = 0;
    for (; c + 4 * W <= C; c += 4 * W) product_block<T, 4>(plan, xn + c, yn + c, zn + c, C, C);
    for (; c + W <= C; c += W) product_block<T, 1>(plan, xn + c, yn + c, zn + c, C, C);
    if (c < C) {
      copy_rows(dx, C - c, xn + c, C, xt, W);
      copy_rows(dy, C - c, yn + c, C, yt, W);
      product_block<T, 1>(plan, xt, yt, zt, W, W);
      copy_rows(dz, C - c, zt, W, zn + c, C);
    }
  }
}
