// F = sum over atoms i, slots j, components m, channels c of Y_ijm a_ijc b_ijc G_imc, and its derivatives.
// Included once per instruction set. Rows that are not whole registers are padded with zeros in scratch.

// Whether the rows of an atom lie one after the other as they are needed.
template <class T>
inline bool in_order(const EdgeForm<T>& f, int64_t Cp) {
  return !f.rev && Cp == f.channels;
}

// Rows (count, C) of an array, at their slots or at those of the reverse edges, padded to Cp: where they are, or in `to`.
template <class T>
inline const T* take_rows(const EdgeForm<T>& f, int64_t node, const T* from, T* to, int64_t Cp) {
  const int64_t first = f.start[node];
  if (in_order(f, Cp)) return from + first * Cp;
  for (int64_t j = 0; j < f.start[node + 1] - first; j++) {
    const int64_t slot = first + j;
    const T* row = from + (f.rev ? f.rev[slot] : slot) * f.channels;
    for (int64_t c = 0; c < f.channels; c++) to[j * Cp + c] = row[c];
    for (int64_t c = f.channels; c < Cp; c++) to[j * Cp + c] = 0;
  }
  return to;
}

// Where the rows of an atom may be written: at once where they belong, or in `scratch`, from where put_rows takes them.
template <class T>
inline T* place_of_rows(const EdgeForm<T>& f, int64_t node, T* scratch, T* to, int64_t Cp) {
  return in_order(f, Cp) ? to + f.start[node] * Cp : scratch;
}

template <class T>
inline void put_rows(const EdgeForm<T>& f, int64_t node, const T* from, int64_t Cp, T* to) {
  if (in_order(f, Cp)) return;
  const int64_t first = f.start[node];
  for (int64_t j = 0; j < f.start[node + 1] - first; j++) {
    const int64_t slot = first + j;
    T* row = to + (f.rev ? f.rev[slot] : slot) * f.channels;
    for (int64_t c = 0; c < f.channels; c++) row[c] = from[j * Cp + c];
  }
}

// (rows, columns) between arrays whose rows have the lengths `from_ld` and `to_ld`.
template <class T>
inline void copy_rows(int64_t rows, int64_t columns, const T* from, int64_t from_ld, T* to, int64_t to_ld) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) to[r * to_ld + c] = from[r * from_ld + c];
}

// (rows, C) with rows padded to Cp: where they are, or in `to`, whose rows end in zeros.
template <class T>
inline const T* padded_rows(int64_t rows, int64_t C, const T* from, T* to, int64_t Cp) {
  if (C == Cp) return from;
  copy_rows(rows, C, from, C, to, Cp);
  return to;
}

template <class T>
inline void transpose(int64_t rows, int64_t columns, const T* from, int64_t from_ld, T* to, int64_t to_ld) {
  for (int64_t c = 0; c < columns; c++)
    for (int64_t r = 0; r < to_ld; r++) to[c * to_ld + r] = r < rows ? from[r * from_ld + c] : 0;
}

template <class T>
inline void times(int64_t n, const T* x, const T* y, T* z) {
  for (int64_t i = 0; i < n; i++) z[i] = x[i] * y[i];
}

template <class T>
inline void add_times(int64_t n, const T* x, const T* y, T* z) {
  for (int64_t i = 0; i < n; i++) z[i] += x[i] * y[i];
}

// Zeroed scratch of a thread, divided into arrays, each at the start of a cache line: a register across two lines takes as
// long to read as two.
template <class T>
struct Scratch {
  static constexpr int64_t line = 64 / sizeof(T), arrays = 16;  // at most
  std::vector<T> memory;
  int64_t used;
  explicit Scratch(int64_t size) : memory(size + (arrays + 1) * line) {
    used = (-reinterpret_cast<uintptr_t>(memory.data()) & 63) / sizeof(T);
  }
  T* take(int64_t size) {
    T* start = memory.data() + used;
    used += (size + line - 1) / line * line;
    if (used > static_cast<int64_t>(memory.size())) throw std::length_error("arrays longer than their scratch");
    return start;
  }
};

// dF/dG (n, D, C) of atoms first..last.
template <class T>
void edge_gather(const EdgeForm<T>& f, int64_t first, int64_t last, const T* a, const T* b, T* sum) {
  const int64_t Cp = padded<T>(f.channels), most = f.width * Cp;
  Scratch<T> scratch(2 * most + f.components * Cp);
  T *p = scratch.take(most), *q = scratch.take(most), *whole = scratch.take(f.components * Cp);
  for (int64_t i = first; i < last; i++) {
    const int64_t w = f.start[i + 1] - f.start[i];
    times(w * Cp, take_rows(f, i, a, p, Cp), take_rows(f, i, b, q, Cp), p);
    T* out = sum + i * f.components * f.channels;
    T* into = Cp == f.channels ? out : whole;
    multiply(f.components, Cp, w, f.harmonics + f.start[i] * f.components, 1, f.components, p, Cp, into, Cp, false);
    if (into != out) copy_rows(f.components, f.channels, whole, Cp, out, f.channels);
  }
}

// dF/db: a_ijc sum_m Y_ijm G_imc, at the slots of a.
template <class T>
void edge_read(const EdgeForm<T>& f, int64_t first, int64_t last, const T* a, const T* features, T* out) {
  const int64_t Cp = padded<T>(f.channels), most = f.width * Cp;
  Scratch<T> scratch(2 * most + f.components * Cp);
  T *p = scratch.take(most), *q = scratch.take(most), *g = scratch.take(f.components * Cp);
  for (int64_t i = first; i < last; i++) {
    const int64_t w = f.start[i + 1] - f.start[i];
    const T* G = padded_rows(f.components, f.channels, features + i * f.components * f.channels, g, Cp);
    multiply(w, Cp, f.components, f.harmonics + f.start[i] * f.components, f.components, 1, G, Cp, q, Cp, false);
    T* row = place_of_rows(f, i, p, out, Cp);
    times(w * Cp, take_rows(f, i, a, p, Cp), q, row);
    put_rows(f, i, row, Cp, out);
  }
}

// The gradient of F with respect to (Y, a, b, G), or its tangent; null pointers are not wanted.
template <class T>
void edge_gradient(const EdgeForm<T>& f, int64_t first, int64_t last, const EdgeArrays<const T>& at,
                   const EdgeArrays<const T>* tangent, const EdgeArrays<T>& out) {
  const int64_t D = f.components, C = f.channels;
  const int64_t Cp = padded<T>(C), Dp = padded<T>(D), most = f.width * Cp, size = D * Cp;
  Scratch<T> scratch(9 * most + 3 * size + C * Dp + f.width * Dp);
  T *own_a = scratch.take(most), *own_b = scratch.take(most), *own_ta = scratch.take(most);
  T* own_tb = scratch.take(most);
  T *p = scratch.take(most), *s = scratch.take(most), *q = scratch.take(most), *r = scratch.take(most);
  T *own_row = scratch.take(most), *own_G = scratch.take(size), *own_tG = scratch.take(size);
  T* own_sum = scratch.take(size);
  T *turned = scratch.take(C * Dp), *dY = scratch.take(f.width * Dp);
  const bool first_order = tangent == nullptr;
  const T* none = nullptr;
  const T *at_tY = first_order ? none : tangent->harmonics, *at_tG = first_order ? none : tangent->features;
  const bool moves_ab = !first_order && (tangent->a || tangent->b);
  for (int64_t i = first; i < last; i++) {
    const int64_t w = f.start[i + 1] - f.start[i], rows = w * Cp;
    const T* Y = f.harmonics + f.start[i] * D;
    const T* tY = at_tY ? at_tY + f.start[i] * D : none;
    const T *a = take_rows(f, i, at.a, own_a, Cp), *b = take_rows(f, i, at.b, own_b, Cp);
    const T* ta = !first_order && tangent->a ? take_rows(f, i, tangent->a, own_ta, Cp) : none;
    const T* tb = !first_order && tangent->b ? take_rows(f, i, tangent->b, own_tb, Cp) : none;
    const T* G = padded_rows(D, C, at.features + i * D * C, own_G, Cp);
    const T* tG = at_tG ? padded_rows(D, C, at_tG + i * D * C, own_tG, Cp) : none;
    times(rows, a, b, p);  // p = a b, s its tangent
    if (moves_ab) {
      std::fill(s, s + rows, T(0));
      if (ta) add_times(rows, ta, b, s);
      if (tb) add_times(rows, a, tb, s);
    }
    if (out.a || out.b) {  // q = Y G, r its tangent
      multiply(w, Cp, D, Y, D, 1, G, Cp, q, Cp, false);
      if (!first_order) {
        std::fill(r, r + rows, T(0));
        if (tY) multiply(w, Cp, D, tY, D, 1, G, Cp, r, Cp, true);
        if (at_tG) multiply(w, Cp, D, Y, D, 1, tG, Cp, r, Cp, true);
      }
      const T* read = first_order ? q : r;
      if (out.a) {
        T* row = place_of_rows(f, i, own_row, out.a, Cp);
        times(rows, b, read, row);
        if (tb) add_times(rows, tb, q, row);
        put_rows(f, i, row, Cp, out.a);
      }
      if (out.b) {
        T* row = place_of_rows(f, i, own_row, out.b, Cp);
        times(rows, a, read, row);
        if (ta) add_times(rows, ta, q, row);
        put_rows(f, i, row, Cp, out.b);
      }
    }
    if (out.features) {  // Y^T p, or tY^T p + Y^T s
      T *place = out.features + i * D * C, *sum = C == Cp ? place : own_sum;
      std::fill(sum, sum + size, T(0));
      if (first_order) multiply(D, Cp, w, Y, 1, D, p, Cp, sum, Cp, true);
      if (tY) multiply(D, Cp, w, tY, 1, D, p, Cp, sum, Cp, true);
      if (moves_ab) multiply(D, Cp, w, Y, 1, D, s, Cp, sum, Cp, true);
      if (sum != place) copy_rows(D, C, sum, Cp, place, C);
    }
    if (out.harmonics) {  // p G^T, or p tG^T + s G^T
      std::fill(dY, dY + w * Dp, T(0));
      if (first_order || moves_ab) {
        transpose(D, C, G, Cp, turned, Dp);
        multiply(w, Dp, C, first_order ? p : s, Cp, 1, turned, Dp, dY, Dp, true);
      }
      if (at_tG) {
        transpose(D, C, tG, Cp, turned, Dp);
        multiply(w, Dp, C, p, Cp, 1, turned, Dp, dY, Dp, true);
      }
      copy_rows(w, D, dY, Dp, out.harmonics + f.start[i] * D, D);
    }
  }
}
