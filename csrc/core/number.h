// Numbers that a formula can be evaluated with: blocks of channels, and blocks with a derivative beside them.
// A gradient evaluated with `Dual` gives its own tangent (forward over reverse): the second derivatives of every operator
// come from the code of the first. Included once per instruction set, after simd.h.

// V registers side by side.
template <class T, int V>
struct Block {
  using scalar = T;
  static constexpr int size = V * Simd<T>::width;
  vec<T> part[V];

  static EQUITENSOR_INLINE Block zero() {
    Block z;
    for (int v = 0; v < V; v++) z.part[v] = vec<T>{};
    return z;
  }
  // The first `count` values from p, zeros behind them.
  static EQUITENSOR_INLINE Block read(const T* p, int64_t count) {
    Block z;
    if (count >= size) {
      for (int v = 0; v < V; v++) z.part[v] = load(p + v * Simd<T>::width);
      return z;
    }
    T whole[size] = {};
    for (int64_t i = 0; i < count; i++) whole[i] = p[i];
    return read(whole, size);
  }
  // The same of values that are `stride` apart.
  static EQUITENSOR_INLINE Block read_apart(const T* p, int64_t stride, int64_t count) {
    constexpr int W = Simd<T>::width;
    if (count >= size) {
      Block z;
      for (int v = 0; v < V; v++) z.part[v] = load_apart(p + v * W * stride, stride, std::make_index_sequence<W>());
      return z;
    }
    T whole[size] = {};
    for (int64_t i = 0; i < count; i++) whole[i] = p[i * stride];
    return read(whole, size);
  }
  EQUITENSOR_INLINE void write(T* p, int64_t count) const {
    if (count >= size) {
      for (int v = 0; v < V; v++) store(p + v * Simd<T>::width, part[v]);
      return;
    }
    T whole[size];
    write(whole, size);
    for (int64_t i = 0; i < count; i++) p[i] = whole[i];
  }
  EQUITENSOR_INLINE void add_to(T* p, int64_t count) const { (read(p, count) + *this).write(p, count); }

  EQUITENSOR_INLINE Block& operator+=(const Block& o) {
    for (int v = 0; v < V; v++) part[v] += o.part[v];
    return *this;
  }
  friend EQUITENSOR_INLINE Block operator+(Block a, const Block& b) { return a += b; }
  friend EQUITENSOR_INLINE Block operator-(Block a, const Block& b) {
    for (int v = 0; v < V; v++) a.part[v] -= b.part[v];
    return a;
  }
  friend EQUITENSOR_INLINE Block operator*(Block a, const Block& b) {
    for (int v = 0; v < V; v++) a.part[v] *= b.part[v];
    return a;
  }
  friend EQUITENSOR_INLINE Block operator/(Block a, const Block& b) {
    for (int v = 0; v < V; v++) a.part[v] /= b.part[v];
    return a;
  }
  friend EQUITENSOR_INLINE Block operator*(T factor, Block a) {
    const vec<T> all = splat(factor);
    for (int v = 0; v < V; v++) a.part[v] *= all;
    return a;
  }
};

// value + epsilon tangent, epsilon^2 = 0.
template <class N>
struct Dual {
  using scalar = typename N::scalar;
  static constexpr int size = N::size;
  N value, tangent;

  static EQUITENSOR_INLINE Dual zero() { return {N::zero(), N::zero()}; }
  EQUITENSOR_INLINE Dual& operator+=(const Dual& o) {
    value += o.value;
    tangent += o.tangent;
    return *this;
  }
  friend EQUITENSOR_INLINE Dual operator+(Dual a, const Dual& b) { return a += b; }
  friend EQUITENSOR_INLINE Dual operator-(const Dual& a, const Dual& b) {
    return {a.value - b.value, a.tangent - b.tangent};
  }
  friend EQUITENSOR_INLINE Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
  }
  friend EQUITENSOR_INLINE Dual operator/(const Dual& a, const Dual& b) {
    const N quotient = a.value / b.value;
    return {quotient, (a.tangent - quotient * b.tangent) / b.value};
  }
  friend EQUITENSOR_INLINE Dual operator*(const N& c, const Dual& a) { return {c * a.value, c * a.tangent}; }
  friend EQUITENSOR_INLINE Dual operator*(scalar factor, const Dual& a) {
    return {factor * a.value, factor * a.tangent};
  }
};

// The number at `offset` of an array, for duals with that of a tangent (null: zero).
template <class N>
struct Reader {
  template <class T>
  static EQUITENSOR_INLINE N read(const T* p, const T*, int64_t offset, int64_t count) {
    return N::read(p + offset, count);
  }
};

template <class N>
struct Reader<Dual<N>> {
  template <class T>
  static EQUITENSOR_INLINE Dual<N> read(const T* p, const T* tangent, int64_t offset, int64_t count) {
    return {N::read(p + offset, count), tangent ? N::read(tangent + offset, count) : N::zero()};
  }
};

// What is written of a result: the value, or the tangent of a dual number.
template <class N>
EQUITENSOR_INLINE const N& result(const N& x) {
  return x;
}
template <class N>
EQUITENSOR_INLINE const N& result(const Dual<N>& x) {
  return x.tangent;
}
