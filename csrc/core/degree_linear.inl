// One matrix per degree on the channels of features (n, (L+1)^2, C). Included once per instruction set.
// Rows of equal degree of a few atoms are laid side by side, so that each matrix meets many of them.

constexpr int64_t ATOMS = 8;  // atoms whose rows are multiplied together
constexpr int64_t ROWS = 64;  // as many as stay in the nearest cache

// Rows of degree l of `count` atoms between features and a dense array with row length ld.
template <class T>
inline void take_degree(int64_t count, int64_t l, int64_t D, int64_t C, const T* features, T* rows, int64_t ld) {
  for (int64_t i = 0; i < count; i++)
    copy_rows(2 * l + 1, C, features + (i * D + l * l) * C, C, rows + i * (2 * l + 1) * ld, ld);
}

template <class T>
inline void put_degree(int64_t count, int64_t l, int64_t D, int64_t C, const T* rows, int64_t ld, bool add,
                       T* features) {
  for (int64_t i = 0; i < count; i++) {
    const T* from = rows + i * (2 * l + 1) * ld;
    T* to = features + (i * D + l * l) * C;
    if (!add) {
      copy_rows(2 * l + 1, C, from, ld, to, C);
      continue;
    }
    for (int64_t m = 0; m < 2 * l + 1; m++)
      for (int64_t c = 0; c < C; c++) to[m * C + c] += from[m * ld + c];
  }
}

// y = x W_l, or x W_l^T, or += where `add`, for atoms first..last; weight (L+1, in, out) as stored.
template <class T>
void degree_linear(int64_t first, int64_t last, int64_t degrees, int64_t in, int64_t out, const T* x, const T* weight,
                   bool turned, bool add, T* y) {
  const int64_t D = degrees * degrees, from = turned ? out : in, to = turned ? in : out, ld = padded<T>(to);
  const int64_t most = ATOMS * (2 * degrees - 1);
  Scratch<T> scratch(degrees * from * ld + most * (from + ld));
  T *matrix = scratch.take(degrees * from * ld), *rows = scratch.take(most * from), *product = scratch.take(most * ld);
  for (int64_t l = 0; l < degrees; l++) {
    const T* stored = weight + l * in * out;
    T* own = matrix + l * from * ld;
    if (turned)
      transpose(in, out, stored, out, own, ld);
    else
      copy_rows(in, out, stored, out, own, ld);
  }
  if (degrees == 1 && ld == to)  // rows as they are
    return multiply(last - first, ld, from, x + first * from, from, 1, matrix, ld, y + first * ld, ld, add);
  for (int64_t i = first; i < last; i += ATOMS) {
    const int64_t count = std::min(ATOMS, last - i);
    for (int64_t l = 0; l < degrees; l++) {
      take_degree(count, l, D, from, x + i * D * from, rows, from);
      multiply(count * (2 * l + 1), ld, from, rows, from, 1, matrix + l * from * ld, ld, product, ld, false);
      put_degree(count, l, D, to, product, ld, add, y + i * D * to);
    }
  }
}

// Adds sum_i x_i,lm g_i,lm^T of atoms first..last to dW (L+1, in, ld), ld >= out the padded row length.
template <class T>
void degree_outer(int64_t first, int64_t last, int64_t degrees, int64_t in, int64_t out, const T* x, const T* g,
                  T* sum) {
  const int64_t D = degrees * degrees, ld = padded<T>(out), most = ATOMS * (2 * degrees - 1);
  if (degrees == 1 && ld == out) {  // rows as they are
    for (int64_t i = first; i < last; i += ROWS)
      multiply(in, ld, std::min(ROWS, last - i), x + i * in, 1, in, g + i * ld, ld, sum, ld, true);
    return;
  }
  Scratch<T> scratch(most * (in + ld) + degrees * in * ld);
  T *left = scratch.take(most * in), *right = scratch.take(most * ld), *total = scratch.take(degrees * in * ld);
  for (int64_t i = first; i < last; i += ATOMS) {
    const int64_t count = std::min(ATOMS, last - i);
    for (int64_t l = 0; l < degrees; l++) {
      take_degree(count, l, D, in, x + i * D * in, left, in);
      take_degree(count, l, D, out, g + i * D * out, right, ld);
      multiply(in, ld, count * (2 * l + 1), left, 1, in, right, ld, total + l * in * ld, ld, true);
    }
  }
  for (int64_t r = 0; r < degrees * in; r++)
    for (int64_t c = 0; c < out; c++) sum[r * out + c] += total[r * ld + c];
}
