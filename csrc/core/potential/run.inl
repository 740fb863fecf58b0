// One stage for a range of atoms. Included once per instruction set.

// body(Atoms), a block after the other.
template <class F>
INLINE void blocks_of(int64_t first, int64_t last, const F& body) {
  for (; first < last; first += BLOCK) body(Atoms{first, std::min<int64_t>(first + BLOCK, last)});
}

template <class T, int L, class Width>
void run_paired(const Engine<T>& engine, Stage stage, int64_t first, int64_t last) {
  blocks_of(first, last, [&](Atoms atoms) {
    switch (stage) {
      case Stage::forward: return engine.template paired_forward<L, Width>(atoms);
      case Stage::last: return engine.template paired_last<Width>(atoms);
      default: return engine.template paired_backward<L, Width>(atoms);
    }
  });
}

template <class T, class Width>
void run_paired_of(const Engine<T>& engine, int L, Stage stage, int64_t first, int64_t last) {
  switch (L) {
    case 0: return run_paired<T, 0, Width>(engine, stage, first, last);
    case 1: return run_paired<T, 1, Width>(engine, stage, first, last);
    case 2: return run_paired<T, 2, Width>(engine, stage, first, last);
    case 3: return run_paired<T, 3, Width>(engine, stage, first, last);
    case 4: return run_paired<T, 4, Width>(engine, stage, first, last);
  }
}

template <class T>
void run(System<T>& system, Stage stage, int round, int thread, int64_t first, int64_t last) {
  const Engine<T> engine(system, thread);
  if constexpr (std::is_same<T, float>::value)
    if (system.pairs && (stage == Stage::forward || stage == Stage::last || stage == Stage::backward)) {
      const Network<T>& n = *system.network;
      if (n.Cp == 32 && n.cp == 32 && n.Gp == 64)
        return run_paired_of<T, Widths<32, 32, 64>>(engine, n.L, stage, first, last);
      return run_paired_of<T, Widths<>>(engine, n.L, stage, first, last);
    }
  if (stage == Stage::forward) return blocks_of(first, last, [&](Atoms atoms) { engine.forward(round, atoms); });
  if (stage == Stage::backward) return blocks_of(first, last, [&](Atoms atoms) { engine.backward(round, atoms); });
  for (int64_t i = first; i < last; i++) switch (stage) {
      case Stage::arrive: engine.arrive(i); break;
      case Stage::leave: engine.leave(i); break;
      case Stage::read: engine.read(round, i); break;
      case Stage::last: engine.last(i); break;
      case Stage::unread: {  // of a ghost
        const int64_t count = system.network->D * system.network->cp;
        T* const by_features = system.by_read_features[round].data() + i * count;
        std::fill_n(by_features, count, T(0));
        engine.unread(round, i, by_features);
        break;
      }
      case Stage::forces: engine.forces(i); break;
      default: break;
    }
}

void product(int64_t rows, int64_t columns, int64_t inner, const double* a, const double* b, double* c) {
  multiply<double>(rows, columns, inner, a, inner, 1, b, columns, c, columns);
}

// 2 x 20 x registers' width x rounds operations, nothing but multiply-adds in registers.
template <class T>
T multiply_adds(int64_t rounds) {
  constexpr int count = EQUITENSOR_REGISTERS == 32 ? 20 : 12;
  vec<T> sum[count];
  for (int k = 0; k < count; k++) sum[k] = splat(T(k));
  const vec<T> x = splat(T(0.999)), y = splat(T(0.001));
  for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 20
    for (int k = 0; k < count; k++) sum[k] = sum[k] * x + y;
  T total = 0;
  for (int k = 0; k < count; k++) total += sum[k][0];
  return total;
}

template <class T>
constexpr int64_t operations_each = 2 * W<T> * (EQUITENSOR_REGISTERS == 32 ? 20 : 12);

const InstructionSet instructions = {EQUITENSOR_NAME,
                                     run<float>,
                                     run<double>,
                                     product,
                                     multiply_adds<float>,
                                     multiply_adds<double>,
                                     {operations_each<float>, operations_each<double>}};
