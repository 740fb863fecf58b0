// F = sum of Y_ijm a_ijc b_ijc G_imc over the slots j of atoms i, and its derivatives.

#include "call.h"

using namespace equitensor;

namespace {

template <class T>
EdgeForm<T> form(int64_t atoms, int64_t slots, int64_t components, int64_t channels, const void* harmonics,
                 const int64_t* start, const int64_t* rev) {
  require(start[0] == 0 && start[atoms] == slots, "edge_form: the slots of atoms end at ", start[atoms], " of ", slots);
  int64_t width = 0;
  for (int64_t i = 0; i < atoms; i++) {
    require(start[i] <= start[i + 1], "edge_form: the slots of atom ", i, " end before they start");
    width = std::max(width, start[i + 1] - start[i]);
  }
  for (int64_t slot = 0; rev && slot < slots; slot++)
    require(0 <= rev[slot] && rev[slot] < slots, "edge_form: rev names slot ", rev[slot], " of ", slots);
  return {width, components, channels, from<T>(harmonics), start, rev};
}

template <class T, class F>
void over_atoms(const EdgeForm<T>& f, int64_t atoms, int threads, const F& body) {
  const int64_t slots = atoms ? (f.start[atoms] + atoms - 1) / atoms : 0;  // of an atom
  parallel_for(atoms, items_per_task(slots * f.components * f.channels), threads, body);
}

}  // namespace

int equitensor_edge_gather(int precision, int64_t atoms, int64_t slots, int64_t components, int64_t channels,
                           const void* harmonics, const void* a, const void* b, const int64_t* start, void* sum,
                           int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const auto f = form<T>(atoms, slots, components, channels, harmonics, start, nullptr);
    over_atoms(f, atoms, threads, [&](int64_t first, int64_t last) {
      kernels<T>().edge_gather(f, first, last, from<T>(a), from<T>(b), into<T>(sum));
    });
  });
}

int equitensor_edge_read(int precision, int64_t atoms, int64_t slots, int64_t components, int64_t channels,
                         const void* harmonics, const void* features, const void* factor, const int64_t* start,
                         const int64_t* rev, void* out, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const auto f = form<T>(atoms, slots, components, channels, harmonics, start, rev);
    over_atoms(f, atoms, threads, [&](int64_t first, int64_t last) {
      kernels<T>().edge_read(f, first, last, from<T>(factor), from<T>(features), into<T>(out));
    });
  });
}

int equitensor_edge_gradient(int precision, int64_t atoms, int64_t slots, int64_t components, int64_t channels,
                             int64_t tangents, const void* harmonics, const void* a, const void* b,
                             const void* features, const int64_t* start, const int64_t* rev, const void* h_harmonics,
                             const void* h_a, const void* h_b, const void* h_features, void* dharmonics, void* da,
                             void* db, void* dfeatures, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    const auto f = form<T>(atoms, slots, components, channels, harmonics, start, rev);
    const EdgeArrays<const T> point{from<T>(harmonics), from<T>(a), from<T>(b), from<T>(features)};
    const EdgeArrays<const T> tangent{from<T>(h_harmonics), from<T>(h_a), from<T>(h_b), from<T>(h_features)};
    const EdgeArrays<T> out{into<T>(dharmonics), into<T>(da), into<T>(db), into<T>(dfeatures)};
    over_atoms(f, atoms, threads, [&](int64_t first, int64_t last) {
      kernels<T>().edge_gradient(f, first, last, point, tangents ? &tangent : nullptr, out);
    });
  });
}
