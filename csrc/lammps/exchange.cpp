/* Features of atoms from owners to ghosts, and their gradients back.
 *
 * Who needs which atoms of whom is agreed upon when LAMMPS makes a neighbour list. Then rows travel directly between the
 * ranks that need each other, one for each atom however many images of it there are, and the core goes on with atoms that
 * have no part in it. Nobody waits until others have what it sends: the core leaves its rows as they are until the next
 * evaluation, before which all is complete.
 */

#include <algorithm>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "pair_equitensor.h"

using namespace LAMMPS_NS;

static constexpr int TAG = 14;  // LAMMPS's own messages have 0

/* ---- the owner of every ghost, through LAMMPS ---- */

static_assert(sizeof(PairEquitensor::Owner) == sizeof(double), "an owner is sent as a double");

void PairEquitensor::find_owners() {
  owner.resize(atom->nlocal + atom->nghost);
  for (int i = 0; i < atom->nlocal; i++) owner[i] = {comm->me, i};
  comm->forward_comm(this, 1);
}

int PairEquitensor::pack_forward_comm(int n, int* atoms, double* buffer, int, int*) {
  for (int k = 0; k < n; k++) memcpy(buffer + k, &owner[atoms[k]], sizeof(Owner));
  return n;
}

void PairEquitensor::unpack_forward_comm(int n, int first, double* buffer) {
  for (int k = 0; k < n; k++) memcpy(&owner[first + k], buffer + k, sizeof(Owner));
}

/* ---- what is sent to whom ---- */

/* The ranks that have some, rows counted on from one to the next. */
static std::vector<PairEquitensor::Peer> peers_of(const std::vector<int>& counts) {
  std::vector<PairEquitensor::Peer> peers;
  int first = 0;
  for (int rank = 0; rank < static_cast<int>(counts.size()); first += counts[rank++])
    if (counts[rank]) peers.push_back({rank, first, counts[rank], false});
  return peers;
}

/* Tells the owners of `wanted`, which are in the order of ranks; gives the atoms of this rank that others want. */
std::vector<int32_t> PairEquitensor::request(const std::vector<Owner>& wanted) {
  std::vector<int> ask(comm->nprocs, 0), asked(comm->nprocs, 0);
  for (const Owner& atom : wanted) ask[atom.rank]++;
  MPI_Alltoall(ask.data(), 1, MPI_INT, asked.data(), 1, MPI_INT, world);
  receives = peers_of(ask);
  sends = peers_of(asked);

  std::vector<int32_t> remote, atoms(sends.empty() ? 0 : sends.back().first + sends.back().count);
  for (const Owner& atom : wanted) remote.push_back(atom.atom);
  std::vector<MPI_Request> pending;
  for (const Peer& peer : sends) {
    pending.emplace_back();
    MPI_Irecv(atoms.data() + peer.first, peer.count, MPI_INT, peer.rank, TAG, world, &pending.back());
  }
  for (const Peer& peer : receives) {
    pending.emplace_back();
    MPI_Isend(remote.data() + peer.first, peer.count, MPI_INT, peer.rank, TAG, world, &pending.back());
  }
  complete(pending);
  return atoms;
}

void PairEquitensor::complete(std::vector<MPI_Request>& pending) {
  for (MPI_Request& request : pending) MPI_Wait(&request, MPI_STATUS_IGNORE);
  pending.clear();
}

/* ---- rows of `width` values of `bits` bits ---- */

int PairEquitensor::forward(void* pair, void* rows, int width, int bits) {
  auto self = static_cast<PairEquitensor*>(pair);
  complete(self->sending);  // of the round before
  self->start(rows, width, bits, false);
  self->outgoing.resize(self->sent_rows.size() * self->bytes);
  for (const Peer& peer : self->receives) self->receive(peer, self->row(self->owned + peer.first));
  for (const Peer& peer : self->sends) {
    char* from = self->row(self->sent_rows[peer.first]);
    if (!peer.in_place) {
      from = self->outgoing.data() + peer.first * self->bytes;
      for (int k = 0; k < peer.count; k++)
        memcpy(from + k * self->bytes, self->row(self->sent_rows[peer.first + k]), self->bytes);
    }
    self->send(peer, from);
  }
  return 0;
}

int PairEquitensor::reverse(void* pair, void* rows, int width, int bits) {
  auto self = static_cast<PairEquitensor*>(pair);
  self->start(rows, width, bits, true);
  self->incoming.resize(self->sent_rows.size() * self->bytes);
  for (const Peer& peer : self->sends) {
    char* const staged = self->incoming.data() + peer.first * self->bytes;
    self->receive(peer, peer.in_place ? self->row(self->sent_rows[peer.first]) : staged);
  }
  for (const Peer& peer : self->receives) self->send(peer, self->row(self->owned + peer.first));
  return 0;
}

template <typename number>
static void add_row(char* row, const char* incoming, int width) {
  auto sum = reinterpret_cast<number*>(row);
  auto from = reinterpret_cast<const number*>(incoming);
  for (int c = 0; c < width; c++) sum[c] += from[c];
}

int PairEquitensor::wait(void* pair) {
  auto self = static_cast<PairEquitensor*>(pair);
  complete(self->receiving);
  const auto add = self->bits == 32 ? add_row<float> : add_row<double>;
  for (const Peer& peer : self->sends)
    for (int k = peer.first; k < peer.first + peer.count && self->returning && !peer.in_place; k++)
      add(self->row(self->sent_rows[k]), self->incoming.data() + k * self->bytes, self->width);
  return 0;
}

void PairEquitensor::start(void* first, int values, int size, bool back) {
  rows = static_cast<char*>(first);
  width = values, bits = size, returning = back;
  bytes = static_cast<size_t>(values) * size / 8;
}

void PairEquitensor::send(const Peer& peer, char* from) {
  sending.emplace_back();
  MPI_Isend(from, peer.count * width, bits == 32 ? MPI_FLOAT : MPI_DOUBLE, peer.rank, TAG, world, &sending.back());
}

void PairEquitensor::receive(const Peer& peer, char* to) {
  receiving.emplace_back();
  MPI_Irecv(to, peer.count * width, bits == 32 ? MPI_FLOAT : MPI_DOUBLE, peer.rank, TAG, world, &receiving.back());
}
