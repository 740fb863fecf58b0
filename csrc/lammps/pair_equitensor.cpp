#include "pair_equitensor.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "elements.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "modify.h"
#include "neighbor.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;
using equitensor_lammps::atomic_number;
using equitensor_lammps::SYMBOLS;

PairEquitensor::PairEquitensor(LAMMPS* lmp) : Pair(lmp) {
  single_enable = 0;
  restartinfo = 1;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;             // the virial is summed over edges
  centroidstressflag = CENTROID_NOTAVAIL;  // needs dE_i/dr_kj for every atom i, not their sum
  pvector = new double[2]();               // of error bars
  comm_forward = 1;                        // the owners of ghosts; features take another way
}

PairEquitensor::~PairEquitensor() {
  if (copymode) return;
  stop_system();
  equitensor_model_close(model);
  delete[] pvector;
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

/* ---- what the input script says ---- */

void PairEquitensor::settings(int narg, char** arg) {
  precision = 32;
  without_d3 = error_bars = false;
  for (int k = 0; k < narg; k++) {
    const std::string word = arg[k];
    if (word == "without_d3")
      without_d3 = true;
    else if (word == "error_bars")
      error_bars = true;
    else if (k == 0 && (word == "float32" || word == "float64"))
      precision = word == "float64" ? 64 : 32;
    else
      error->all(
          FLERR,
          "pair_style equitensor {}: say float32 (the default) or float64, then what you want of error_bars and without_d3",
          word);
  }
  take_settings();
}

void PairEquitensor::take_settings() {
  stop_system();
  nextra = error_bars ? 2 : 0;
}

void PairEquitensor::coeff(int narg, char** arg) {
  const int n = atom->ntypes;
  if (narg < 3 || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR,
               "pair_coeff for equitensor is: pair_coeff * * MODEL and one element, or NULL, for each atom type");
  if (narg - 3 != n)
    error->all(FLERR, "pair_coeff names {} elements, but there are {} atom types: name one, or NULL, for each type",
               narg - 3, n);
  if (!allocated) {
    memory->create(setflag, n + 1, n + 1, "pair:setflag");
    memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
    allocated = 1;
  }
  open_model(arg[2]);
  map_types(n, arg + 3);
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= n; j++) setflag[i][j] = i <= j && z_of_type[i] && z_of_type[j];
}

/* One rank reads the file, all get its bytes: a thousand ranks that open one file are slow. */
void PairEquitensor::open_model(const char* name) {
  std::vector<char> bytes;
  bigint size = -1;
  if (comm->me == 0) {
    const std::string path = utils::get_potential_file_path(name);
    FILE* file = path.empty() ? nullptr : fopen(path.c_str(), "rb");
    if (file) {
      char part[65536];
      for (size_t n = fread(part, 1, sizeof part, file); n > 0; n = fread(part, 1, sizeof part, file))
        bytes.insert(bytes.end(), part, part + n);
      size = ferror(file) ? -1 : static_cast<bigint>(bytes.size());
      fclose(file);
    }
  }
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  if (size < 0) error->all(FLERR, "{}: there is no such model file, or it cannot be read", name);
  if (size > MAXSMALLINT) error->all(FLERR, "{} is too large to be a model file", name);
  bytes.resize(size);
  MPI_Bcast(bytes.data(), static_cast<int>(size), MPI_BYTE, 0, world);

  stop_system();
  equitensor_model_close(model);
  model = nullptr;
  path = name;
  if (equitensor_model_read_without_d3(bytes.data(), size, &model)) {
    model = nullptr;
    error->all(FLERR, "{}: {}", name, equitensor_message());
  }
}

void PairEquitensor::map_types(int n, char** elements) {
  const int count = equitensor_model_num_elements(model);
  const int32_t* has = equitensor_model_elements(model);
  std::string names;
  for (int k = 0; k < count; k++) names += std::string(k ? " " : "") + SYMBOLS[has[k]];

  bool any = false;
  z_of_type.assign(n + 1, 0);
  for (int i = 1; i <= n; i++) {
    const char* symbol = elements[i - 1];
    if (strcmp(symbol, "NULL") == 0) continue;
    const int number = atomic_number(symbol);
    if (!number) error->all(FLERR, "pair_coeff: {} (atom type {}) is not a chemical element", symbol, i);
    bool known_element = false;
    for (int k = 0; k < count; k++) known_element = known_element || has[k] == number;
    if (!known_element)
      error->all(FLERR, "{} knows the elements {}, but not {} (atom type {})", path, names, symbol, i);
    z_of_type[i] = number;
    any = true;
  }
  if (!any) error->all(FLERR, "pair_coeff: no atom type has an element, all are NULL");
}

/* ---- before a run ---- */

void PairEquitensor::init_style() {
  if (!model)
    error->all(FLERR, "pair_style equitensor needs its pair_coeff (restart files keep the style, not the model)");
  if (!force->newton_pair)
    error->all(FLERR, "pair_style equitensor needs newton on, as ghost atoms carry forces of others");
  if (strcmp(update->unit_style, "metal") == 0)
    scale = 1.0;
  else if (strcmp(update->unit_style, "real") == 0)
    scale = utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  else
    error->all(FLERR, "pair_style equitensor needs units metal or real, not {}", update->unit_style);
  if (!modify->get_compute_by_style("^heat/flux").empty())
    error->all(FLERR,
               "compute heat/flux is not right with pair_style equitensor: it needs the derivative of every atom's own "
               "energy, and has the total's only");
  refuse_excluded_pairs();
  refuse_without_dispersion();
  refuse_without_error_bars();
  start_system();
  neighbor->add_request(this, NeighConst::REQ_FULL);
  known.assign((atom->ntypes + 1) * (atom->ntypes + 1), 0);
  pairs_checked = false;
  listed = false;
}

/* Neighbours that LAMMPS would leave out of the list for reasons of other force fields. */
void PairEquitensor::refuse_excluded_pairs() {
  if (atom->molecular != Atom::ATOMIC && atom->nbonds > 0)
    for (int k = 1; k <= 3; k++)
      if (force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0)
        error->all(
            FLERR,
            "bonded neighbours are left out of the list: say special_bonds lj/coul 1 1 1 for pair_style equitensor");
  if (neighbor->nex_group || neighbor->nex_mol || neighbor->includegroup)
    error->all(FLERR, "pair_style equitensor cannot leave out neighbours: remove neigh_modify exclude or include");
  for (int k = 0; k < neighbor->nex_type; k++)
    if (z_of_type[neighbor->ex1_type[k]] && z_of_type[neighbor->ex2_type[k]])
      error->all(FLERR, "pair_style equitensor cannot leave out neighbours: remove neigh_modify exclude type {} {}",
                 neighbor->ex1_type[k], neighbor->ex2_type[k]);
}

/* A model may have learned what is left of the labels without their dispersion: then dispersion/d3 must be there. */
void PairEquitensor::refuse_without_dispersion() {
  const char* d3 = equitensor_model_d3(model);
  if (!d3 || without_d3 || force->pair_match("dispersion/d3", 0, 1)) return;
  error->all(FLERR,
             "{} learned labels without their dispersion (D3 of {}): add it with hybrid/overlay and dispersion/d3, as "
             "equitensor lammps writes it, or say pair_style equitensor float32 without_d3 to go without",
             path, d3);
}

void PairEquitensor::start_system() {
  if (system && threads == comm->nthreads) return;
  stop_system();
  threads = comm->nthreads;
  if (equitensor_system_new(model, precision, threads, &system)) {
    system = nullptr;
    error->all(FLERR, "{}: {}", path, equitensor_message());
  }
}

void PairEquitensor::stop_system() {
  complete(sending);
  equitensor_system_free(system);
  system = nullptr;
}

double PairEquitensor::init_one(int i, int j) {
  if (!setflag[i][j]) error->all(FLERR, "pair_coeff for equitensor gives no element to atom types {} and {}", i, j);
  known[i * (atom->ntypes + 1) + j] = known[j * (atom->ntypes + 1) + i] = 1;
  return equitensor_model_cutoff(model);
}

/* Under pair_style hybrid another style may have taken a pair of types, whose neighbours would be missing here. */
void PairEquitensor::refuse_pairs_of_other_styles() {
  const int n = atom->ntypes;
  for (int i = 1; i <= n; i++)
    for (int j = i; j <= n; j++)
      if (z_of_type[i] && z_of_type[j] && !known[i * (n + 1) + j])
        error->all(
            FLERR,
            "atom types {} and {} have elements in pair_style equitensor, but another style has this pair: use hybrid/overlay",
            i, j);
  pairs_checked = true;
}

/* ---- every step ---- */

void PairEquitensor::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (!pairs_checked) refuse_pairs_of_other_styles();
  complete(sending);
  update_neighbors();

  const size_t total = atom_of.size();
  position.resize(3 * total);
  for (size_t r = 0; r < total; r++) memcpy(&position[3 * r], atom->x[atom_of[r]], 3 * sizeof(double));
  forces.assign(3 * total, 0.0);
  if (vflag_atom) virials.assign(6 * total, 0.0);
  if (eflag_atom) energies.resize(owned);

  equitensor_result result = {};
  result.energies = eflag_atom ? energies.data() : nullptr;
  result.forces = forces.data();
  result.virials = vflag_atom ? virials.data() : nullptr;
  if (wants_error_bars()) allocate_error_bars(result);
  const equitensor_exchange exchange = {this, border, forward, reverse, wait};
  const bool alone = comm->nprocs == 1;
  const double* shifts = shift.empty() ? nullptr : shift.data();
  require(equitensor_system_evaluate(system, position.data(), shifts, alone ? nullptr : &exchange, &result));
  add_results(result);
  if (error_bars) add_error_bars(result);
}

/* What ghosts feel LAMMPS adds to their owners. */
void PairEquitensor::add_results(const equitensor_result& result) {
  if (eflag_global) eng_vdwl += scale * result.energy;
  if (vflag_global)
    for (int k = 0; k < 6; k++) virial[k] += scale * result.virial[k];
  if (eflag_atom)
    for (int r = 0; r < owned; r++) eatom[atom_of[r]] += scale * energies[r];
  for (size_t r = 0; r < atom_of.size(); r++) {
    for (int k = 0; k < 3; k++) atom->f[atom_of[r]][k] += scale * forces[3 * r + k];
    for (int k = 0; k < 6 && vflag_atom; k++) vatom[atom_of[r]][k] += scale * virials[6 * r + k];
  }
}

void PairEquitensor::require(int failed) {
  if (failed) error->one(FLERR, "{}: {}", path, equitensor_message());
}

/* ---- the rest ---- */

void PairEquitensor::add_tally_callback(Compute*) {
  error->all(FLERR, "pair_style equitensor has no energies of pairs, which a compute of style */tally needs");
}

void PairEquitensor::write_restart(FILE* file) { write_restart_settings(file); }

void PairEquitensor::read_restart(FILE* file) { read_restart_settings(file); }

/* One number, of old: the sign stands for without_d3, one more for error_bars. */
void PairEquitensor::write_restart_settings(FILE* file) {
  const int setting = (precision + error_bars) * (without_d3 ? -1 : 1);
  fwrite(&setting, sizeof(int), 1, file);
}

void PairEquitensor::read_restart_settings(FILE* file) {
  int setting = 0;
  if (comm->me == 0) utils::sfread(FLERR, &setting, sizeof(int), 1, file, nullptr, error);
  MPI_Bcast(&setting, 1, MPI_INT, 0, world);
  without_d3 = setting < 0;
  error_bars = setting % 2 != 0;
  precision = abs(setting) - error_bars;
  take_settings();
}

double PairEquitensor::memory_usage() {
  const size_t integers = 2 * owner.capacity() + near.capacity() + row_of.capacity() + atom_of.capacity() +
                          z.capacity() + sender.capacity() + image.capacity() + sent_rows.capacity();
  const size_t reals = near_start.capacity() + start_of.capacity() + shift.capacity() + position.capacity() +
                       energies.capacity() + forces.capacity() + virials.capacity() + novelty.values.capacity() +
                       forces_std.values.capacity() + novelty_of_row.capacity() + forces_std_of_row.capacity();
  return Pair::memory_usage() + static_cast<double>(integers * sizeof(int32_t) + reals * sizeof(double) +
                                                    outgoing.capacity() + incoming.capacity());
}
