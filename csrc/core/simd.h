// Vectors of the widest registers of one instruction set, and products of small matrices in them.
// Included once per instruction set, inside its namespace, with EQUITENSOR_BYTES the width of a register.

template <class T>
struct Simd {
  typedef T type __attribute__((vector_size(EQUITENSOR_BYTES), aligned(sizeof(T)), may_alias));
  static constexpr int width = EQUITENSOR_BYTES / sizeof(T);
};

template <class T>
using vec = typename Simd<T>::type;

template <class T>
inline vec<T> load(const T* p) {
  return *reinterpret_cast<const vec<T>*>(p);
}

template <class T>
inline void store(T* p, vec<T> v) {
  *reinterpret_cast<vec<T>*>(p) = v;
}

// A write past the caches where a register is a whole line, which saves reading the line first; p is a multiple of 64.
// `streamed` comes after such writes, before other threads read them.
#if EQUITENSOR_BYTES == 64
template <class T>
EQUITENSOR_INLINE void stream(T* p, vec<T> v) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), reinterpret_cast<__m512i>(v));
}
inline void streamed() { _mm_sfence(); }
#else
template <class T>
EQUITENSOR_INLINE void stream(T* p, vec<T> v) {
  store(p, v);
}
inline void streamed() {}
#endif

template <class T>
inline vec<T> splat(T value) {
  return value - vec<T>{};
}

// p[0], p[stride], ...: straight into the register. Through an array, loads would have to wait for its stores.
template <class T, size_t... lane>
EQUITENSOR_INLINE vec<T> load_apart(const T* p, int64_t stride, std::index_sequence<lane...>) {
  return vec<T>{p[static_cast<int64_t>(lane) * stride]...};
}

// The next multiple of the register width.
template <class T>
inline int64_t padded(int64_t n) {
  return (n + Simd<T>::width - 1) / Simd<T>::width * Simd<T>::width;
}

// R rows and V vectors of c (+)= a b, held in registers. a_mk = a[m * am + k * ak].
template <class T, int R, int V>
inline void multiply_block(int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c, int64_t ldc,
                           bool add) {
  constexpr int W = Simd<T>::width;
  vec<T> sum[R][V];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) sum[r][v] = add ? load(c + r * ldc + v * W) : vec<T>{};
  for (int64_t k = 0; k < K; k++) {
    vec<T> row[V];
    for (int v = 0; v < V; v++) row[v] = load(b + k * ldb + v * W);
    for (int r = 0; r < R; r++) {
      const vec<T> factor = splat(a[r * am + k * ak]);
      for (int v = 0; v < V; v++) sum[r][v] += factor * row[v];
    }
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < V; v++) store(c + r * ldc + v * W, sum[r][v]);
}

template <class T, int V>
inline void multiply_columns(int64_t M, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c,
                             int64_t ldc, bool add) {
  constexpr int R = V == 4 ? 3 : 4;
  int64_t m = 0;
  for (; m + R <= M; m += R) multiply_block<T, R, V>(K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc, add);
  for (; m < M; m++) multiply_block<T, 1, V>(K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc, add);
}

// c (M, N) = a b, or += where `add`; N is a multiple of the register width. a_mk = a[m * am + k * ak].
template <class T>
inline void multiply(int64_t M, int64_t N, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c,
                     int64_t ldc, bool add) {
  constexpr int W = Simd<T>::width;
  int64_t n = 0;
  for (; n + 4 * W <= N; n += 4 * W) multiply_columns<T, 4>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
  for (; n + 2 * W <= N; n += 2 * W) multiply_columns<T, 2>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
  for (; n < N; n += W) multiply_columns<T, 1>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
}
