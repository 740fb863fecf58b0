// Energy (eV) and forces (eV/Angstrom) of a molecule, without Python and torch:
//     ./energy model.eqt < atoms        a line for each atom: atomic number, x, y, z in Angstrom
#include <potential.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

static void check(int failed) {
  if (!failed) return;
  std::fprintf(stderr, "%s\n", equitensor_message());
  std::exit(1);
}

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: energy model.eqt < atoms\n", stderr), 2;
  equitensor_model* model;
  equitensor_system* system;
  check(equitensor_model_open(argv[1], &model));
  check(equitensor_system_new(model, 64, 1, &system));  // float64, one thread

  std::vector<int32_t> z, sender;
  std::vector<double> pos;
  int number, fields;
  double x[3];
  while ((fields = std::scanf("%d %lf %lf %lf", &number, x, x + 1, x + 2)) == 4) {
    z.push_back(number);
    pos.insert(pos.end(), x, x + 3);
  }
  if (fields != EOF) return std::fprintf(stderr, "atom %zu: give atomic number, x, y, z\n", z.size() + 1), 1;
  const int64_t n = static_cast<int64_t>(z.size());
  std::vector<int64_t> start{0};  // the neighbours of atom i are sender[start[i]] .. sender[start[i + 1]]
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++)  // every pair in both rows; those beyond the cutoff are passed over
      if (j != i) sender.push_back(static_cast<int32_t>(j));
    start.push_back(static_cast<int64_t>(sender.size()));
  }
  check(equitensor_system_neighbors(system, n, n, z.data(), start.data(), sender.data()));

  std::vector<double> forces(3 * n);  // added to, so they start at zero
  equitensor_result result = {};
  result.forces = forces.data();
  check(equitensor_system_evaluate(system, pos.data(), nullptr, nullptr, &result));
  std::printf("%.12f\n", result.energy);
  for (int64_t i = 0; i < n; i++)
    std::printf("%.12f %.12f %.12f\n", forces[3 * i], forces[3 * i + 1], forces[3 * i + 2]);

  equitensor_system_free(system);
  equitensor_model_close(model);
}
