/* LAMMPS's neighbour list as the core wants it: made when LAMMPS makes its own, used until then. */

#include <cstring>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_equitensor.h"
#include "potential.h"

using namespace LAMMPS_NS;

static bool within(double reach, const double* a, const double* b) {
  const double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return x * x + y * y + z * z < reach * reach;
}

void PairEquitensor::update_neighbors() {
  const bool fresh = neighbor->ago == 0 || origin.empty(); // the same on all ranks, which exchange then
  if (fresh) find_origins();
  if (fresh || types_changed()) convert_neighbors();
  if (!shift.empty() && memcmp(box, domain->h, sizeof box) != 0) find_shifts();
}

/* fix atom/swap, for one, changes types without new neighbours. */
bool PairEquitensor::types_changed() const {
  for (size_t i = 0; i < z.size(); i++)
    if (z[i] != z_of_type[atom->type[i]]) return true;
  return false;
}

/* Where the rows of every atom are found on this rank: its own place, or for a periodic image of one that is here that
 * one's. Such images then need no exchange. */
void PairEquitensor::find_origins() {
  origin.resize(atom->nlocal + atom->nghost + 1); // never empty
  for (int i = 0; i < atom->nlocal + atom->nghost; i++) origin[i] = {comm->me, i};
  inside.clear();
  finding_origins = true;
  set_rows(origin.data(), 2, 32);
  comm->forward_comm(this, slots);
  finding_origins = false;
  total = atom->nlocal;
  for (int i = total; i < atom->nlocal + atom->nghost; i++)
    if (!is_image(i)) total = i + 1;
}

void PairEquitensor::convert_neighbors() {
  const int owned = atom->nlocal;
  z.resize(total);
  for (int i = 0; i < total; i++) z[i] = z_of_type[atom->type[i]];
  counts.assign(owned, 0); // LAMMPS's list does not set the rows of other atoms
  for (int k = 0; k < list->inum; k++) counts[list->ilist[k]] = list->numneigh[list->ilist[k]];
  start.assign(owned + 1, 0);
  sender.clear();
  image.clear();
  bool images = false;
  const double reach = reach_of_list();
  for (int i = 0; i < owned; i++) {
    for (int n = 0; n < counts[i]; n++) {
      const int j = list->firstneigh[i][n] & NEIGHMASK;
      if (reach > 0.0 && !within(reach, atom->x[i], atom->x[j])) continue;
      sender.push_back(origin[j].atom);
      image.push_back(j);
      images = images || origin[j].atom != j;
    }
    start[i + 1] = static_cast<int64_t>(sender.size());
  }
  shift.resize(images ? 3 * sender.size() : 0);
  find_shifts();
  require(equitensor_system_neighbors(system, owned, total, z.data(), start.data(), sender.data()));
}

/* How far apart the pairs of LAMMPS's list may be that are of use here, 0 where it holds no others. Under pair_style
 * hybrid it goes as far as the longest cutoff. Where it is not new, both atoms may have moved by half the skin. */
double PairEquitensor::reach_of_list() const {
  const double reach = equitensor_model_cutoff(model) + neighbor->skin;
  if (neighbor->cutneighmax < reach * (1 + 1e-9)) return 0.0;
  return neighbor->ago == 0 ? reach : reach + neighbor->skin;
}

/* From the image of a neighbour to the atom; again when the box changes. */
void PairEquitensor::find_shifts() {
  memcpy(box, domain->h, sizeof box);
  for (size_t e = 0; 3 * e < shift.size(); e++)
    for (int k = 0; k < 3; k++) shift[3 * e + k] = atom->x[sender[e]][k] - atom->x[image[e]][k];
}
