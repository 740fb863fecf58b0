// Registers of one instruction set, and products of matrices in them. Included once per instruction set, inside its
// namespace, with EQUITENSOR_BYTES the width of a register and EQUITENSOR_REGISTERS their number.

#define INLINE __attribute__((always_inline)) inline

template <class T>
struct Register {
  typedef T type __attribute__((vector_size(EQUITENSOR_BYTES), may_alias));
  typedef T in_memory __attribute__((vector_size(EQUITENSOR_BYTES), aligned(sizeof(T)), may_alias));
};
template <class T>
using vec = typename Register<T>::type;

template <class T>
constexpr int W = EQUITENSOR_BYTES / sizeof(T);

template <class T>
INLINE vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Register<T>::in_memory*>(p);
}
template <class T>
INLINE void store(T* p, vec<T> v) {
  *reinterpret_cast<typename Register<T>::in_memory*>(p) = v;
}
template <class T>
INLINE vec<T> splat(T value) {
  return value - vec<T>{};
}

// A vector in space and a fourth value.
template <class T>
struct Vector4 {
  typedef T type __attribute__((vector_size(4 * sizeof(T)), may_alias));
};
template <class T>
using vector4 = typename Vector4<T>::type;
template <class T>
INLINE vector4<T>& vector4_at(T* rows, int64_t row) {
  return *reinterpret_cast<vector4<T>*>(rows + 4 * row);
}

// The next multiple of the widest register of any instruction set: how rows are laid out.
template <class T>
INLINE int64_t whole(int64_t n) {
  constexpr int width = PAD_BYTES / sizeof(T);
  return (n + width - 1) / width * width;
}

template <class T, int half, size_t... i>
INLINE vec<T> interleave(vec<T> a, vec<T> b, std::index_sequence<i...>) {
  return __builtin_shufflevector(a, b, (half * W<T> / 2 + int(i) / 2 + (int(i) % 2) * W<T>)...);
}

// Four registers as columns of W rows of four values.
template <class T>
INLINE void store_vectors4(T* rows, vec<T> x, vec<T> y, vec<T> z, vec<T> last) {
  constexpr auto lanes = std::make_index_sequence<W<T>>();
  const vec<T> xz[2] = {interleave<T, 0>(x, z, lanes), interleave<T, 1>(x, z, lanes)};
  const vec<T> yl[2] = {interleave<T, 0>(y, last, lanes), interleave<T, 1>(y, last, lanes)};
#pragma GCC unroll 2
  for (int k = 0; k < 2; k++) {
    store(rows + 2 * k * W<T>, interleave<T, 0>(xz[k], yl[k], lanes));
    store(rows + (2 * k + 1) * W<T>, interleave<T, 1>(xz[k], yl[k], lanes));
  }
}

// W registers as the rows of a matrix, which is turned: log2 W rounds of a perfect shuffle.
template <class T>
INLINE void turn(vec<T>* rows) {
  constexpr auto lanes = std::make_index_sequence<W<T>>();
#pragma GCC unroll 4
  for (int round = 1; round < W<T>; round *= 2) {
    vec<T> next[W<T>];
#pragma GCC unroll 16
    for (int i = 0; i < W<T> / 2; i++) {
      next[2 * i] = interleave<T, 0>(rows[i], rows[i + W<T> / 2], lanes);
      next[2 * i + 1] = interleave<T, 1>(rows[i], rows[i + W<T> / 2], lanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W<T>; i++) rows[i] = next[i];
  }
}

// out (columns, ld_out) = in (rows, ld_in) turned, rows and columns whole registers.
template <class T>
void turn(int64_t rows, int64_t columns, const T* in, int64_t ld_in, T* out, int64_t ld_out) {
  for (int64_t i = 0; i < rows; i += W<T>)
    for (int64_t j = 0; j < columns; j += W<T>) {
      vec<T> block[W<T>];
#pragma GCC unroll 16
      for (int k = 0; k < W<T>; k++) block[k] = load(in + (i + k) * ld_in + j);
      turn<T>(block);
#pragma GCC unroll 16
      for (int k = 0; k < W<T>; k++) store(out + (j + k) * ld_out + i, block[k]);
    }
}

constexpr int reversed(int i, int count) {  // the bits of i < count in reverse order
  int out = 0;
  for (int bit = 1; bit < count; bit *= 2) out = 2 * out + (i / bit) % 2;
  return out;
}

// The sums of W registers, one in a lane each: two become one by adding their halves, until one is left.
template <class T>
INLINE vec<T> sums(const T* rows) {
  constexpr auto lanes = std::make_index_sequence<W<T>>();
  vec<T> block[W<T>];
#pragma GCC unroll 16
  for (int k = 0; k < W<T>; k++) block[k] = load(rows + reversed(k, W<T>) * W<T>);
#pragma GCC unroll 4
  for (int count = W<T> / 2; count > 0; count /= 2)
#pragma GCC unroll 8
    for (int k = 0; k < count; k++)
      block[k] = interleave<T, 0>(block[2 * k], block[2 * k + 1], lanes) +
                 interleave<T, 1>(block[2 * k], block[2 * k + 1], lanes);
  return block[0];
}

template <class T>
INLINE T sum(vec<T> v) {
  T total = 0;
  for (int k = 0; k < W<T>; k++) total += v[k];
  return total;
}

// R rows and V registers of c (+)= a b. a_mk = a[m * am + k * ak].
template <class T, int R, int V>
INLINE void tile(int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c, int64_t ldc, bool add) {
  constexpr int S = R * V < 6 ? (R * V < 3 ? 4 : 2) : 1;  // several sums of few: a chain of additions waits for each
  vec<T> sum[S][R][V];
#pragma GCC unroll 4
  for (int s = 0; s < S; s++)
#pragma GCC unroll 24
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[s][r][v] = add && s == 0 ? load(c + r * ldc + v * W<T>) : vec<T>{};
  int64_t k = 0;
  for (; k + S <= K; k += S)
#pragma GCC unroll 4
    for (int s = 0; s < S; s++) {
      vec<T> row[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) row[v] = load(b + (k + s) * ldb + v * W<T>);
#pragma GCC unroll 24
      for (int r = 0; r < R; r++) {
        const vec<T> factor = splat(a[r * am + (k + s) * ak]);
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[s][r][v] += factor * row[v];
      }
    }
  for (; k < K; k++)
#pragma GCC unroll 24
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[0][r][v] += splat(a[r * am + k * ak]) * load(b + k * ldb + v * W<T>);
#pragma GCC unroll 24
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
#pragma GCC unroll 4
      for (int s = 1; s < S; s++) sum[0][r][v] += sum[s][r][v];
      store(c + r * ldc + v * W<T>, sum[0][r][v]);
    }
}

// All rows of V registers' columns, in tiles of about the same height.
template <class T, int V>
void columns(int64_t M, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c, int64_t ldc,
             bool add) {
  constexpr int most = EQUITENSOR_REGISTERS == 32 ? (V == 1 ? 16 : 24 / V) : (V == 1 ? 10 : 12 / V);
  for (int64_t m = 0, tiles = (M + most - 1) / most; tiles > 0; tiles--) {
    const int64_t rows = (M - m + tiles - 1) / tiles;
    switch (rows) {
#define EQUITENSOR_TILE(R)                                                                        \
  case R:                                                                                         \
    if constexpr (R <= most) tile<T, R, V>(K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc, add); \
    break;
      // clang-format off
      EQUITENSOR_TILE(1)
      EQUITENSOR_TILE(2)
      EQUITENSOR_TILE(3)
      EQUITENSOR_TILE(4) EQUITENSOR_TILE(5) EQUITENSOR_TILE(6) EQUITENSOR_TILE(7) EQUITENSOR_TILE(8) EQUITENSOR_TILE(9)
          EQUITENSOR_TILE(10) EQUITENSOR_TILE(11) EQUITENSOR_TILE(12) EQUITENSOR_TILE(13) EQUITENSOR_TILE(14)
              EQUITENSOR_TILE(15) EQUITENSOR_TILE(16)
      // clang-format on
#undef EQUITENSOR_TILE
    }
    m += rows;
  }
}

// c (M, N) = a b, or += where `add`; N whole registers. a_mk = a[m * am + k * ak].
template <class T>
void multiply(int64_t M, int64_t N, int64_t K, const T* a, int64_t am, int64_t ak, const T* b, int64_t ldb, T* c,
              int64_t ldc, bool add = false) {
  int64_t n = 0;
  if constexpr (EQUITENSOR_REGISTERS == 32)
    for (; n + 4 * W<T> <= N; n += 4 * W<T>) columns<T, 4>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
  for (; n + 2 * W<T> <= N; n += 2 * W<T>) columns<T, 2>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
  for (; n < N; n += W<T>) columns<T, 1>(M, K, a, am, ak, b + n, ldb, c + n, ldc, add);
}

// How a number is split for exp: its logarithm of 2 in two parts, and what rounds to an integer in the last bits.
template <class T>
struct Exponential;
template <>
struct Exponential<float> {
  using integer = int32_t;
  static constexpr int terms = 7, mantissa = 23, bias = 127;
  static constexpr float limit = 87.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, rounder = 12582912.0f;
};
template <>
struct Exponential<double> {
  using integer = int64_t;
  static constexpr int terms = 13, mantissa = 52, bias = 1023;
  static constexpr double limit = 708.0, ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6,
                          rounder = 6755399441055744.0;
};

// 1 + exp(-x)
template <class T>
INLINE vec<T> one_and_exponential(vec<T> x, T limit = Exponential<T>::limit) {
  using E = Exponential<T>;
  typedef typename E::integer integers __attribute__((vector_size(EQUITENSOR_BYTES)));
  const vec<T> most = splat(limit);
  x = -x;
  x = most < x ? most : x;  // in this order, so that what is not a number stays that
  x = -most > x ? -most : x;
  const vec<T> shifted = x * T(1.44269504088896340736) + T(E::rounder);
  const vec<T> whole_part = shifted - T(E::rounder);
  const vec<T> rest = (x - whole_part * T(E::ln2_high)) - whole_part * T(E::ln2_low);
  vec<T> total = splat(T(1));
#pragma GCC unroll 13
  for (int k = E::terms; k > 0; k--) total = total * rest * T(1.0 / k) + T(1);
  const integers power = ((integers)shifted + E::bias) << E::mantissa;  // the low bits of `shifted` are the whole part
  return T(1) + total * (vec<T>)power;
}

template <class T>
INLINE vec<T> sigmoid(vec<T> x) {
  return T(1) / one_and_exponential<T>(x);
}

// Of two registers with one division, which is dear. Beyond 43 the product of both would overflow; below 1e-18 nothing
// counts.
INLINE void sigmoids(const vec<float>* x, vec<float>* out) {
  const vec<float> a = one_and_exponential<float>(x[0], 43), b = one_and_exponential<float>(x[1], 43),
                   inverse = 1.0f / (a * b);
  out[0] = b * inverse, out[1] = a * inverse;
}
