/* LAMMPS's neighbour list as the core wants it: made when LAMMPS makes its own, used until then.
 *
 * The core numbers atoms by rows. First come those of this rank that other ranks need or that have neighbours there (the
 * border), then the others of this rank, then the atoms of other ranks, each once and those of a rank together. An image,
 * periodic or of another rank's atom, is that row and a shift.
 */

#include <algorithm>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_equitensor.h"

using namespace LAMMPS_NS;

static bool within(double reach, const double* a, const double* b) {
  const double x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
  return x * x + y * y + z * z < reach * reach;
}

void PairEquitensor::update_neighbors() {
  const bool fresh = neighbor->ago == 0 || !listed;  // the same on all ranks, which agree on their exchange then
  if (fresh) {
    find_owners();
    read_list();
    order_rows();
    convert_neighbors();
  }
  listed = true;
  if (fresh || types_changed()) set_neighbors();
  if (!shift.empty() && memcmp(box, domain->h, sizeof box) != 0) find_shifts();
}

/* fix atom/swap, for one, changes types without new neighbours. */
bool PairEquitensor::types_changed() const {
  for (size_t r = 0; r < z.size(); r++)
    if (z[r] != z_of_type[atom->type[atom_of[r]]]) return true;
  return false;
}

/* near: LAMMPS's neighbours of each atom of this rank, from near_start on, that may be of use. */
void PairEquitensor::read_list() {
  std::vector<int> counts(atom->nlocal, 0);  // LAMMPS's list does not set the rows of other atoms
  for (int k = 0; k < list->inum; k++) counts[list->ilist[k]] = list->numneigh[list->ilist[k]];
  near_start.assign(atom->nlocal + 1, 0);
  near.clear();
  const double reach = reach_of_list();
  for (int i = 0; i < atom->nlocal; i++) {
    for (int n = 0; n < counts[i]; n++) {
      const int j = list->firstneigh[i][n] & NEIGHMASK;
      if (reach == 0.0 || within(reach, atom->x[i], atom->x[j])) near.push_back(j);
    }
    near_start[i + 1] = static_cast<int64_t>(near.size());
  }
}

/* How far apart the pairs of LAMMPS's list may be that are of use here, 0 where it holds no others. Under pair_style
 * hybrid it goes as far as the longest cutoff. Where it is not new, both atoms may have moved by half the skin. */
double PairEquitensor::reach_of_list() const {
  const double reach = equitensor_model_cutoff(model) + neighbor->skin;
  if (neighbor->cutneighmax < reach * (1 + 1e-9)) return 0.0;
  return neighbor->ago == 0 ? reach : reach + neighbor->skin;
}

/* atom_of and row_of, the border, and with the other ranks what is exchanged. */
void PairEquitensor::order_rows() {
  struct Image {
    Owner owner;
    int atom;
  };
  std::vector<Image> images;  // of atoms of other ranks
  // By atom: one more than the first peer that needs it, so that the rows of a peer lie together where they can; after
  // these, atoms that have neighbours elsewhere; 0 for inner ones.
  std::vector<int> part(atom->nlocal, 0);
  std::vector<char> taken(atom->nghost, 0);
  for (int i = 0; i < atom->nlocal; i++)
    for (int64_t e = near_start[i]; e < near_start[i + 1]; e++) {
      const int j = near[e];
      if (owner[j].rank == comm->me) continue;
      part[i] = comm->nprocs + 1;
      if (!taken[j - atom->nlocal]) images.push_back({owner[j], j});
      taken[j - atom->nlocal] = 1;
    }
  std::sort(images.begin(), images.end(), [](const Image& a, const Image& b) {
    if (a.owner.rank != b.owner.rank) return a.owner.rank < b.owner.rank;
    return a.owner.atom != b.owner.atom ? a.owner.atom < b.owner.atom : a.atom < b.atom;
  });
  std::vector<Owner> wanted;
  std::vector<int> first;  // image of each of them
  row_of.assign(atom->nlocal + atom->nghost, -1);
  for (const Image& image : images) {
    if (wanted.empty() || wanted.back().rank != image.owner.rank || wanted.back().atom != image.owner.atom) {
      wanted.push_back(image.owner);
      first.push_back(image.atom);
    }
    row_of[image.atom] = atom->nlocal + static_cast<int>(wanted.size()) - 1;
  }
  if (comm->nprocs > 1) sent_rows = request(wanted);
  for (size_t p = sends.size(); p-- > 0;)
    for (int k = 0; k < sends[p].count; k++) part[sent_rows[sends[p].first + k]] = static_cast<int>(p) + 1;

  atom_of.clear();
  for (int i = 0; i < atom->nlocal; i++)
    if (part[i]) atom_of.push_back(i);
  std::stable_sort(atom_of.begin(), atom_of.end(), [&part](int a, int b) { return part[a] < part[b]; });
  border = static_cast<int>(atom_of.size());
  for (int i = 0; i < atom->nlocal; i++)
    if (!part[i]) atom_of.push_back(i);
  for (int r = 0; r < atom->nlocal; r++) row_of[atom_of[r]] = r;
  atom_of.insert(atom_of.end(), first.begin(), first.end());
  for (int32_t& row : sent_rows) row = row_of[row];
  owned = atom->nlocal;
  find_rows_in_place();
}

/* Which peers need rows that lie one after another and that no other needs. */
void PairEquitensor::find_rows_in_place() {
  std::vector<int> needed(border, 0);
  for (int row : sent_rows) needed[row]++;
  for (Peer& peer : sends) {
    const int32_t* const rows = &sent_rows[peer.first];
    peer.in_place = true;
    for (int k = 0; k < peer.count; k++)
      peer.in_place = peer.in_place && rows[k] == rows[0] + k && needed[rows[k]] == 1;
  }
}

void PairEquitensor::convert_neighbors() {
  start_of.assign(owned + 1, 0);
  sender.clear();
  image.clear();
  bool images = false;
  for (int r = 0; r < owned; r++) {
    const int i = atom_of[r];
    for (int64_t e = near_start[i]; e < near_start[i + 1]; e++) {
      const int j = near[e], row = row_of[owner[j].rank == comm->me ? owner[j].atom : j];
      sender.push_back(row);
      image.push_back(j);
      images = images || atom_of[row] != j;
    }
    start_of[r + 1] = static_cast<int64_t>(sender.size());
  }
  shift.resize(images ? 3 * sender.size() : 0);
  find_shifts();
}

void PairEquitensor::set_neighbors() {
  const int total = static_cast<int>(atom_of.size());
  z.resize(total);
  for (int r = 0; r < total; r++) z[r] = z_of_type[atom->type[atom_of[r]]];
  require(equitensor_system_neighbors(system, owned, total, z.data(), start_of.data(), sender.data()));
}

/* From the image of a neighbour to the atom; again when the box changes. */
void PairEquitensor::find_shifts() {
  memcpy(box, domain->h, sizeof box);
  for (size_t e = 0; 3 * e < shift.size(); e++)
    for (int k = 0; k < 3; k++) shift[3 * e + k] = atom->x[atom_of[sender[e]]][k] - atom->x[image[e]][k];
}
