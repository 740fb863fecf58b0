/* Features of atoms from owners to ghosts, and their gradients back, through LAMMPS's own exchanges. */

#include <cstring>

#include "comm.h"
#include "pair_equitensor.h"

using namespace LAMMPS_NS;

int PairEquitensor::forward(void* pair, void* rows, int width, int bits) {
  auto self = static_cast<PairEquitensor*>(pair);
  if (!self->set_rows(rows, width, bits)) return 1;
  if (!self->measuring) self->comm->forward_comm(self, self->slots);
  return 0;
}

int PairEquitensor::reverse(void* pair, void* rows, int width, int bits) {
  auto self = static_cast<PairEquitensor*>(pair);
  if (!self->set_rows(rows, width, bits)) return 1;
  if (!self->measuring) self->comm->reverse_comm(self, self->slots);
  return 0;
}

/* False where LAMMPS's buffers would not hold them. */
bool PairEquitensor::set_rows(void* first, int numbers, int size) {
  rows = static_cast<char*>(first);
  width = numbers;
  bits = size;
  bytes = static_cast<size_t>(numbers) * size / 8;
  slots = static_cast<int>((bytes + sizeof(double) - 1) / sizeof(double));
  packed = 0;
  from_inside = false;
  if (measuring) comm_forward = comm_reverse = slots > comm_forward ? slots : comm_forward;
  return finding_origins || slots <= comm_forward;
}

void PairEquitensor::pack(size_t row, double* buffer) const {
  buffer[slots - 1] = 0.0; // an odd number of floats ends in half a double
  memcpy(buffer, rows + row * bytes, bytes);
}

/* A swap of a rank with itself makes periodic images of atoms that are there, whose rows are those of their origins: it is
 * passed over. Which ones these are was seen when the origins were found; LAMMPS makes all exchanges in the same order. */
int PairEquitensor::pack_forward_comm(int n, int* atoms, double* buffer, int, int*) {
  const size_t swap = packed++;
  if (finding_origins) inside.push_back(0);
  if (!inside[swap])
    for (int k = 0; k < n; k++) pack(origin[atoms[k]].atom, buffer + k * static_cast<size_t>(slots));
  return n * slots;
}

void PairEquitensor::unpack_forward_comm(int n, int first, double* buffer) {
  if (!finding_origins && n && is_image(first)) return;
  for (int k = 0; k < n; k++) memcpy(rows + (first + k) * bytes, buffer + k * static_cast<size_t>(slots), bytes);
  if (!finding_origins || n == 0) return;
  if (origin[first].rank == comm->me && !inside.empty()) inside.back() = origin[first].atom < first;
  for (int k = first; k < first + n; k++)
    if (origin[k].rank != comm->me) origin[k] = {comm->me, k};
}

int PairEquitensor::pack_reverse_comm(int n, int first, double* buffer) {
  from_inside = n && is_image(first);
  for (int k = 0; k < n && !from_inside; k++) pack(first + k, buffer + k * static_cast<size_t>(slots));
  return n * slots;
}

template <typename number>
static void add_row(char* row, int width, const double* buffer) {
  auto to = reinterpret_cast<number*>(row);
  auto from = reinterpret_cast<const char*>(buffer);
  for (int c = 0; c < width; c++) {
    number value; // the buffer is an array of doubles, whatever it holds
    memcpy(&value, from + c * sizeof(number), sizeof(number));
    to[c] += value;
  }
}

void PairEquitensor::unpack_reverse_comm(int n, int* atoms, double* buffer) {
  const bool skip = from_inside;
  from_inside = false;
  if (skip) return;
  const auto add = bits == 32 ? add_row<float> : add_row<double>;
  for (int k = 0; k < n; k++) add(rows + origin[atoms[k]].atom * bytes, width, buffer + k * static_cast<size_t>(slots));
}
