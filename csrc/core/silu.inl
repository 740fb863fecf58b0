// silu(x) = x / (1 + exp(-x)) and its first two derivatives. Included once per instruction set.

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

template <class T>
EQUITENSOR_INLINE vec<T> exponential(vec<T> x) {
  using E = Exponential<T>;
  typedef typename E::integer integers __attribute__((vector_size(EQUITENSOR_BYTES)));
  const vec<T> most = splat(T(E::limit));
  x = x < -most ? -most : (x > most ? most : x);
  const vec<T> shifted = x * T(1.44269504088896340736) + T(E::rounder);
  const vec<T> n = shifted - T(E::rounder);
  const vec<T> r = (x - n * T(E::ln2_high)) - n * T(E::ln2_low);
  vec<T> sum = splat(T(1));
  for (int k = E::terms; k > 0; k--) sum = sum * r * T(1.0 / k) + T(1);
  const integers power = ((integers)shifted + E::bias) << E::mantissa;  // the low bits of `shifted` are n
  return sum * (vec<T>)power;
}

template <class T>
EQUITENSOR_INLINE vec<T> sigmoid(vec<T> x) {
  return T(1) / (T(1) + exponential<T>(-x));
}

template <class T>
EQUITENSOR_INLINE vec<T> silu_derivative(vec<T> x, vec<T> s) {
  return s * (T(1) + x * (T(1) - s));
}

template <class T>
EQUITENSOR_INLINE vec<T> silu_curvature(vec<T> x, vec<T> s) {
  return s * (T(1) - s) * (T(2) + x * (T(1) - T(2) * s));
}

template <class T>
void silu(int64_t n, const T* x, T* y) {
  constexpr int W = Simd<T>::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) store(y + i, load(x + i) * sigmoid<T>(load(x + i)));
  for (; i < n; i++) y[i] = x[i] * sigmoid<T>(splat(x[i]))[0];
}

// g silu'(x)
template <class T>
void silu_backward(int64_t n, const T* x, const T* g, T* out) {
  constexpr int W = Simd<T>::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const vec<T> at = load(x + i);
    store(out + i, load(g + i) * silu_derivative<T>(at, sigmoid<T>(at)));
  }
  for (; i < n; i++) {
    const vec<T> at = splat(x[i]);
    out[i] = g[i] * silu_derivative<T>(at, sigmoid<T>(at))[0];
  }
}

// h silu'(x) and h g silu''(x)
template <class T>
void silu_second(int64_t n, const T* x, const T* g, const T* h, T* by_g, T* by_x) {
  constexpr int W = Simd<T>::width;
  int64_t i = 0;
  for (; i + W <= n; i += W) {
    const vec<T> at = load(x + i), s = sigmoid<T>(at), dh = load(h + i);
    store(by_g + i, dh * silu_derivative<T>(at, s));
    store(by_x + i, dh * load(g + i) * silu_curvature<T>(at, s));
  }
  for (; i < n; i++) {
    const vec<T> at = splat(x[i]), s = sigmoid<T>(at);
    by_g[i] = h[i] * silu_derivative<T>(at, s)[0];
    by_x[i] = h[i] * g[i] * silu_curvature<T>(at, s)[0];
  }
}
