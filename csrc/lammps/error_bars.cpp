/* Error bars, where pair_style equitensor is told `error_bars`: of atoms for fix pair, of all for compute pair. */

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "pair_equitensor.h"

using namespace LAMMPS_NS;

void PairEquitensor::refuse_without_error_bars() {
  if (error_bars && equitensor_model_num_sums(model) == 0)
    error->all(
        FLERR,
        "{} has no error bars: equitensor uncertainty MODEL TRAIN puts them in; or leave out the word error_bars",
        path);
}

/* Whether this step needs them: a compute pair, which needs the energy tallied, or a fix pair may ask for them. */
bool PairEquitensor::wants_error_bars() const {
  return error_bars && (eflag_global || novelty.asked || forces_std.asked);
}

void PairEquitensor::allocate_error_bars(equitensor_result& result) {
  novelty_of_row.resize(owned);
  forces_std_of_row.resize(owned);
  sums.resize(equitensor_model_num_sums(model));
  result.novelty = novelty_of_row.data();
  result.forces_std = forces_std_of_row.data();
  result.sums = sums.data();
}

/* On steps without error bars those of atoms are not numbers, rather than those of another step. */
void PairEquitensor::add_error_bars(const equitensor_result& result) {
  const bool computed = result.sums;  // a rank without atoms has sums, too
  const size_t count = std::max(atom->nlocal, 1);
  for (OfAtoms* of_atoms : {&novelty, &forces_std}) of_atoms->values.assign(count, computed ? 0.0 : NAN);
  if (!computed) return;
  for (int r = 0; r < owned; r++) {
    novelty.values[atom_of[r]] = novelty_of_row[r];
    forces_std.values[atom_of[r]] = scale * forces_std_of_row[r];
  }
  if (eflag_global) sum_error_bars();
}

/* pvector: the standard deviation of the energy and the largest novelty, on the first rank: compute pair adds up. */
void PairEquitensor::sum_error_bars() {
  const auto largest = std::max_element(novelty_of_row.begin(), novelty_of_row.end());
  const double here = largest == novelty_of_row.end() ? 0.0 : *largest;
  std::vector<double> total(sums.size());
  pvector[0] = pvector[1] = 0.0;
  MPI_Reduce(sums.data(), total.data(), static_cast<int>(sums.size()), MPI_DOUBLE, MPI_SUM, 0, world);
  MPI_Reduce(&here, &pvector[1], 1, MPI_DOUBLE, MPI_MAX, 0, world);
  if (comm->me == 0) pvector[0] = scale * equitensor_model_energy_std(model, total.data());
}

/* fix pair asks for the flag first where it has a trigger, and sets it to 1 for the steps at which it wants the values and to
 * 0 after them. Without one it wants them at all steps. */
void* PairEquitensor::extract(const char* name, int& dimension) {
  dimension = 0;
  for (auto [flag, of_atoms] : {std::pair("novelty_flag", &novelty), std::pair("forces_std_flag", &forces_std)}) {
    if (!error_bars || strcmp(name, flag) != 0) continue;
    of_atoms->triggered = true;
    of_atoms->asked = 0;
    return &of_atoms->asked;
  }
  return nullptr;
}

void* PairEquitensor::extract_peratom(const char* name, int& columns) {
  columns = 0;
  for (auto [own, of_atoms] : {std::pair("novelty", &novelty), std::pair("forces_std", &forces_std)}) {
    if (!error_bars || strcmp(name, own) != 0) continue;
    if (!of_atoms->triggered) of_atoms->asked = 1;
    return of_atoms->values.data();
  }
  return nullptr;
}
