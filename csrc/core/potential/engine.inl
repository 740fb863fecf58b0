// The stages of an evaluation, for an atom or a block of them: declarations. Included once per instruction set.
//
// Every derivative is dE/d(what is named): by_x. MATHS.md section 7 has the scheme; names are those of nn/message_passing.py.

// The row of edges that arrive at an atom, or leave it: n of them, `length` with its padding, from `first` on.
struct Row {
  int64_t first, n, length;
};

// At most BLOCK atoms, first .. end - 1.
struct Atoms {
  int64_t first, end;
  int64_t count() const { return end - first; }
};

// What edges of an atom keep between the second density and its gradient, a row an edge: the product with the radial
// functions (G), these (G) and its derivative w.r.t. the distance (G); what a gradient w.r.t. the activation adds to
// those of the scalars, of the distance and of what is read (c).
template <class T>
struct PairedEdges {
  T *product, *radial, *radial_gradient, *to_scalars, *to_distance, *to_read;
};

// Where an edge lies among the knots of splines: `t` of the way from one to the next. Derivatives are those by t.
struct Between {
  static constexpr int chunk = PAD_BYTES / sizeof(float), rows = SPLINE_ROWS;
  int64_t knot;
  vec<float> t;

  INLINE Between(int64_t knot, float t) : knot(knot), t(splat(t)) {}

  // The coefficients of the interval, from function v of a chunk's start on.
  INLINE const float* row(const Spline& spline, int64_t v) const {
    return spline.data.data() + (knot * spline.width + v) * rows;
  }

  // Functions v, v + 1, ... of a row, as many as a register holds.
  INLINE vec<float> value(const float* row, int64_t v) const {
    const float* at = row + v / chunk * rows * chunk + v % chunk;
    vec<float> value = load(at + 5 * chunk);
#pragma GCC unroll 5
    for (int k = 4; k >= 0; k--) value = value * t + load(at + k * chunk);
    return value;
  }
  INLINE void both(const float* row, int64_t v, vec<float>& value, vec<float>& derivative) const {
    const float* at = row + v / chunk * rows * chunk + v % chunk;
    derivative = load(at + 5 * chunk);
    value = derivative * t + load(at + 4 * chunk);
#pragma GCC unroll 4
    for (int k = 3; k >= 0; k--) {
      derivative = derivative * t + value;
      value = value * t + load(at + k * chunk);
    }
  }
};

// Sizes that loops of the paired rounds are compiled for, or 0 for any: channels, those of edges, gathered ones.
template <int C_ = 0, int c_ = 0, int G_ = 0>
struct Widths {
  static constexpr int C = C_, c = c_, G = G_;
};

template <class T>
class Engine {
 public:
  Engine(System<T>& system, int thread) : s(system), n(*system.network), w(system.scratch[thread]), thread_(thread) {}

  void arrive(int64_t i) const;
  void leave(int64_t j) const;
  void forward(int r, Atoms atoms) const;
  void read(int q, int64_t j) const;
  void last(int64_t i) const;
  void unread(int q, int64_t j, T* by_features) const;
  void backward(int r, Atoms atoms) const;
  void forces(int64_t j) const;

  // Rounds of two with splines of pairs: see paired.inl.
  template <int L, class Width>
  void paired_forward(Atoms atoms) const;
  template <class Width>
  void paired_last(Atoms atoms) const;
  template <int L, class Width>
  void paired_backward(Atoms atoms) const;

 private:
  System<T>& s;
  const Network<T>& n;
  Scratch<T>& w;
  int thread_;

  Row arriving(int64_t i) const { return {s.row[i], s.count[i], whole<T>(s.count[i])}; }
  Row departing(int64_t j) const { return {s.leaving_row[j], s.leaving_count[j], whole<T>(s.leaving_count[j])}; }

  void harmonics(const Row& row, const Aligned<T>* direction) const;
  template <int degree>
  void harmonics_of(const Row& row, const Aligned<T>* direction) const;
  template <int degree>
  void direction_gradient_of(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance,
                             T* out) const;
  void radial(const Segment& segment, const Row& row, T* values, T* gradients) const;
  void bessel(const Row& row) const;
  void locate(const Row& row) const;
  INLINE Between between(int64_t e) const { return Between(w.knot[e], w.between[e]); }
  void embed(const Row& row, int species) const;
  void activate(int q, const Row& row, int64_t i, bool first) const;
  void state(int r, const Row& row, int64_t i, bool forward) const;
  void carry(int r, const Row& row) const;
  void gather(const Row& row, const T* product, T* gathered) const;
  void turn_rows(const T* rows, int64_t width, T* out) const;
  void density_gradient(int r, const Row& row, const T* by_gathered) const;
  void update_gradient(int q, const Row& row, int64_t i) const;
  void direction_gradient(const Row& row, const Aligned<T>* direction, const T* inverse, const T* by_distance,
                          T* out) const;
  void shape(int r, Atoms atoms) const;
  void unshape(int r, Atoms atoms) const;
  void head(Atoms atoms) const;
  void arriving_forces(int64_t i) const;
  void finish(const Row& row) const;
  void lengths(const Row& row) const;
  void count_neighbors(const Row& row, int64_t i) const;
  double coordination(const Row& row) const;
  void coordination_gradient(const Row& row, double by_number) const;
  void normalize(int64_t i, T* density) const;
  void normalize_gradient(int64_t i, const T* density, T* by_density) const;
  void zbl(const Row& row, int64_t i) const;
  void repulsion(const Row& row, int64_t i) const;
  INLINE vector4<T> pull(int64_t slot, int64_t place) const;
  T length(int64_t slot) const { return n.begins.empty() ? s.edge[4 * slot + 3] : s.length[slot]; }
  PairedEdges<T> edges_of(int64_t b) const;
  template <class Width>
  void paired_activate(const Row& row, int64_t i, const Spline* const* tables, const PairedEdges<T>& to) const;
  template <int L, class Width>
  void paired_density_gradient(int64_t i, const T* by_density) const;
  template <class Width>
  void paired_messages(int64_t i, const PairedEdges<T>& to, T* gathered) const;
  template <class Width>
  void paired_messages_gradient(int64_t i, const PairedEdges<T>& from, const T* by_gathered) const;
  const Spline* const* tables_of(const Row& row, int64_t i, const std::vector<Spline>& tables) const;
  template <int from, int to, class Width>
  void sum_degrees(const Row& row, const Spline* const* tables, int64_t c, T* out) const;
  void by_degree(Atoms atoms, const T* in, int64_t width_in, const T* matrices, T* out, int64_t width_out) const;
};
