// z_M = sum over entries of W x_k v_node, channel by channel, W = sum of weight[path] basis[path, position] for each
// element: nodes v are products of components of x. Blocks of channels, several atoms of one element side by side, so
// that a coefficient is fetched once for all of them. Included once per instruction set.
// A gradient follows the entries by monomial v_node x_k, whose gradient is sum_M W g_M.

// The values of a block of channels that lie `stride` apart.
template <class B, class T>
EQUITENSOR_INLINE B read_strided(const T* p, int64_t stride, int64_t count) {
  if (stride == 1) return B::read(p, count);
  T whole[B::size] = {};
  if (count == B::size)
    for (int i = 0; i < B::size; i++) whole[i] = p[i * stride];
  else
    for (int64_t i = 0; i < count; i++) whole[i] = p[i * stride];
  return B::read(whole, B::size);
}

template <class B, class T>
EQUITENSOR_INLINE void write_strided(const B& block, T* p, int64_t stride, int64_t count) {
  if (stride == 1) return block.write(p, count);
  T whole[B::size];
  block.write(whole, B::size);
  if (count == B::size)
    for (int i = 0; i < B::size; i++) p[i * stride] = whole[i];
  else
    for (int64_t i = 0; i < count; i++) p[i * stride] = whole[i];
}

// Components of A atoms, (components, A); for duals with those of a tangent, or zeros.
template <int A, class T, int V>
inline void read_atoms(const Strided<const T>& from, const Strided<const T>&, const int64_t* atoms, int64_t components,
                       int64_t c, int64_t count, Block<T, V>* to) {
  for (int a = 0; a < A; a++)
    for (int64_t i = 0; i < components; i++)
      to[i * A + a] = read_strided<Block<T, V>>(from.at(atoms[a], i, c), from.channel, count);
}

template <int A, class T, int V>
inline void read_atoms(const Strided<const T>& from, const Strided<const T>& tangent, const int64_t* atoms,
                       int64_t components, int64_t c, int64_t count, Dual<Block<T, V>>* to) {
  using B = Block<T, V>;
  for (int a = 0; a < A; a++)
    for (int64_t i = 0; i < components; i++) {
      Dual<B>& number = to[i * A + a];
      number.value = read_strided<B>(from.at(atoms[a], i, c), from.channel, count);
      number.tangent = tangent.data ? read_strided<B>(tangent.at(atoms[a], i, c), tangent.channel, count) : B::zero();
    }
}

template <int A, class N, class T>
inline void write_atoms(const N* from, const int64_t* atoms, int64_t components, int64_t c, int64_t count,
                        const Strided<T>& to) {
  for (int a = 0; a < A; a++)
    for (int64_t i = 0; i < components; i++)
      write_strided(result(from[i * A + a]), to.at(atoms[a], i, c), to.channel, count);
}

template <class U, class T>
void fold(const SparseSums<T>& sums, const U* terms, U* out) {
  int32_t n = 0;
  for (const int32_t stop : sums.stop) {
    U sum = U::zero();
    for (; n < stop; n++) sum += sums.factor[n] * terms[sums.from[n]];
    *out++ = sum;
  }
}

// Its transpose, added to what is there.
template <class B, class T>
void unfold(const SparseSums<T>& sums, const B* gradient, B* terms) {
  int32_t n = 0;
  for (const int32_t stop : sums.stop) {
    for (; n < stop; n++) terms[sums.from[n]] += sums.factor[n] * *gradient;
    gradient++;
  }
}

template <int A, class N, class T>
void raise_nodes(const ManyBody<T>& p, N* node) {
  T ones[N::size];
  std::fill(ones, ones + N::size, T(1));
  const T* none = nullptr;
  for (int a = 0; a < A; a++) node[p.components * A + a] = Reader<N>::read(ones, none, 0, N::size);
  N* next = node + (p.components + 1) * A;
  for (int64_t q = 0; q < p.products; q++, next += A)
    for (int a = 0; a < A; a++) next[a] = node[p.left[q] * A + a] * node[p.right[q] * A + a];
}

template <int A, class N, class T>
void lower_gradients(const ManyBody<T>& p, const N* node, N* dnode) {
  const N* gradient = dnode + (p.components + 1 + p.products) * A;
  for (int64_t q = p.products - 1; q >= 0; q--) {
    gradient -= A;
    N *left = dnode + p.left[q] * A, *right = dnode + p.right[q] * A;
    for (int a = 0; a < A; a++) left[a] += gradient[a] * node[p.right[q] * A + a];
    for (int a = 0; a < A; a++) right[a] += gradient[a] * node[p.left[q] * A + a];
  }
}

template <int A, class U, class N, class T>
void polynomial_values(const ManyBody<T>& p, const U* coefficient, const N* node, N* z) {
  const PolynomialOrder<T>& terms = p.rows;
  for (int64_t i = 0; i < p.outputs * A; i++) z[i] = N::zero();
  int64_t e = 0;
  for (int64_t r = 0; r < terms.groups; r++) {
    N sum[A];
    for (int a = 0; a < A; a++) sum[a] = N::zero();
    for (; e < terms.end[r]; e++) {
      const U w = coefficient[e];
      const N* v = node + terms.inner[e] * A;
      for (int a = 0; a < A; a++) sum[a] += w * v[a];
    }
    N* out = z + terms.outer[r] * A;
    const N* x = node + terms.factor[r] * A;
    for (int a = 0; a < A; a++) out[a] += sum[a] * x[a];
  }
}

// Adds to dnode the gradients of all nodes, to `gradient` (or null) those of the entries' coefficients.
template <int A, class U, class N, class B, class T>
void polynomial_gradients(const ManyBody<T>& p, const U* coefficient, const N* node, const B* g, N* dnode,
                          B* gradient) {
  const PolynomialOrder<T>& terms = p.monomials;
  int64_t e = 0;
  for (int64_t t = 0; t < terms.groups; t++) {
    const N *v = node + terms.outer[t] * A, *x = node + terms.factor[t] * A;
    U sum[A];
    for (int a = 0; a < A; a++) sum[a] = U::zero();
    if (gradient) {
      B monomial[A];
      for (int a = 0; a < A; a++) monomial[a] = result(v[a] * x[a]);
      for (; e < terms.end[t]; e++) {
        const U w = coefficient[e];
        const B* own = g + terms.inner[e] * A;
        B total = gradient[e];
        for (int a = 0; a < A; a++) {
          sum[a] += own[a] * w;
          total += own[a] * monomial[a];
        }
        gradient[e] = total;
      }
    } else {
      for (; e < terms.end[t]; e++) {
        const U w = coefficient[e];
        const B* own = g + terms.inner[e] * A;
        for (int a = 0; a < A; a++) sum[a] += own[a] * w;
      }
    }
    N *dv = dnode + terms.outer[t] * A, *dx = dnode + terms.factor[t] * A;
    for (int a = 0; a < A; a++) dv[a] += sum[a] * x[a];
    for (int a = 0; a < A; a++) dx[a] += sum[a] * v[a];
  }
}

// Scratch arrays for one block of channels, each aligned to a cache line.
template <class U, class N, class B>
struct PolynomialScratch {
  static constexpr int64_t LINE = 64;
  std::vector<char> memory;
  U *weight, *path, *rows, *monomials;
  B *dweight, *dpath, *gradient, *g;
  N *node, *dnode, *z;

  template <class T>
  PolynomialScratch(const ManyBody<T>& p, int64_t atoms) {
    const int64_t nodes = p.components + 1 + p.products;
    int64_t size = 0;
    for (const bool placed : {false, true}) {
      if (placed) memory.resize(size + LINE);
      size = placed ? LINE - reinterpret_cast<uintptr_t>(memory.data()) % LINE : 0;
      place(weight, p.num_weights, size), place(path, p.paths, size);
      place(rows, p.entries, size), place(monomials, p.entries, size), place(gradient, p.entries, size);
      place(dweight, p.num_weights, size), place(dpath, p.paths, size), place(g, p.outputs * atoms, size);
      place(node, nodes * atoms, size), place(dnode, nodes * atoms, size), place(z, p.outputs * atoms, size);
    }
  }

  template <class P>
  void place(P*& array, int64_t count, int64_t& size) {
    array = reinterpret_cast<P*>(memory.data() + size);
    size += (count * static_cast<int64_t>(sizeof(P)) + LINE - 1) / LINE * LINE;
  }
};

// A atoms of one element.
template <int A, class U, class N, class B, class T>
void many_body_atoms(const ManyBody<T>& p, const ManyBodyArrays<T>& at, const PolynomialScratch<U, N, B>& scratch,
                     const int64_t* atoms, int64_t c, int64_t count) {
  const int64_t nodes = p.components + 1 + p.products;
  read_atoms<A>(at.x, at.h_x, atoms, p.components, c, count, scratch.node);
  raise_nodes<A>(p, scratch.node);
  if (at.out.data) {
    polynomial_values<A>(p, scratch.rows, scratch.node, scratch.z);
    write_atoms<A>(scratch.z, atoms, p.outputs, c, count, at.out);
  }
  if (!at.dx.data && !at.dweight) return;
  read_atoms<A>(at.g, at.g, atoms, p.outputs, c, count, scratch.g);
  for (int64_t i = 0; i < nodes * A; i++) scratch.dnode[i] = N::zero();
  polynomial_gradients<A>(p, scratch.monomials, scratch.node, scratch.g, scratch.dnode,
                          at.dweight ? scratch.gradient : nullptr);
  if (!at.dx.data) return;
  lower_gradients<A>(p, scratch.node, scratch.dnode);
  write_atoms<A>(scratch.dnode, atoms, p.components, c, count, at.dx);
}

// Tasks first..last, each an element that occurs in a block of channels: no two add to the same values.
// Without `g` the outputs; else the gradients in x and weight, or (N a dual) their tangents and
// that of the output.
template <class U, class N, class B, int A, class T>
void many_body_pass(const ManyBody<T>& p, int64_t first, int64_t last, const ManyBodyArrays<T>& at) {
  const PolynomialScratch<U, N, B> scratch(p, A);
  const int64_t elements = p.present.size();
  const bool reduced = !p.reduction.stop.empty();
  const U* weight = reduced ? scratch.path : scratch.weight;
  B* dweight = reduced ? scratch.dpath : scratch.dweight;
  for (int64_t task = first; task < last; task++) {
    const int64_t element = p.present[task % elements], c = task / elements * N::size;
    const int64_t count = std::min<int64_t>(N::size, p.channels - c), row = element * p.num_weights * p.channels + c;
    for (int64_t k = 0; k < p.num_weights; k++)
      scratch.weight[k] = Reader<U>::read(at.weight, at.h_weight, row + k * p.channels, count);
    if (reduced) fold(p.reduction, scratch.weight, scratch.path);
    if (at.out.data) fold(p.rows.weights, weight, scratch.rows);
    if (at.dx.data || at.dweight) fold(p.monomials.weights, weight, scratch.monomials);
    for (int64_t e = 0; at.dweight && e < p.entries; e++) scratch.gradient[e] = B::zero();
    const int64_t *atoms = p.order.data() + p.start[element], *end = p.order.data() + p.start[element + 1];
    for (; atoms + A <= end; atoms += A) many_body_atoms<A>(p, at, scratch, atoms, c, count);
    for (; A > 2 && atoms + 2 <= end; atoms += 2) many_body_atoms<2>(p, at, scratch, atoms, c, count);
    for (; atoms < end; atoms++) many_body_atoms<1>(p, at, scratch, atoms, c, count);
    if (!at.dweight) continue;
    for (int64_t k = 0; k < p.num_weights; k++) scratch.dweight[k] = B::zero();
    for (int64_t k = 0; k < p.paths; k++) dweight[k] = B::zero();
    unfold(p.monomials.weights, scratch.gradient, dweight);
    if (reduced) unfold(p.reduction, scratch.dpath, scratch.dweight);
    for (int64_t k = 0; k < p.num_weights; k++) scratch.dweight[k].write(at.dweight + row + k * p.channels, count);
  }
}

template <class T>
void many_body(const ManyBody<T>& p, int64_t first, int64_t last, const ManyBodyArrays<T>& at) {
  using B = Block<T, 1>;
  many_body_pass<B, B, B, 4>(p, first, last, at);
}

template <class T>
void many_body_tangents(const ManyBody<T>& p, int64_t first, int64_t last, const ManyBodyArrays<T>& at) {
  using B = Block<T, 1>;
  if (at.h_weight)
    many_body_pass<Dual<B>, Dual<B>, B, 2>(p, first, last, at);
  else
    many_body_pass<B, Dual<B>, B, 4>(p, first, last, at);
}
