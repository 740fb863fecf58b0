/* Energies and forces of a trained potential, for simulations: a C header, no torch, no Python.
 *
 * Units are eV and Angstrom. A model may be shared by any number of systems and threads; a system belongs to one thread at
 * a time. Every function that can fail returns 0, or 1 with the reason in equitensor_message() (of the calling thread).
 */
#ifndef EQUITENSOR_POTENTIAL_H
#define EQUITENSOR_POTENTIAL_H

#include <stdint.h>

#if defined(_WIN32)
#define EQUITENSOR_API __declspec(dllexport)
#else
#define EQUITENSOR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct equitensor_model equitensor_model;
typedef struct equitensor_system equitensor_system;

/* The reason of this thread's last failure. */
EQUITENSOR_API const char* equitensor_message(void);

/* A model file (model.eqt), by its path or from memory (the bytes are copied). */
EQUITENSOR_API int equitensor_model_open(const char* path, equitensor_model** model);
EQUITENSOR_API int equitensor_model_read(const void* bytes, int64_t size, equitensor_model** model);
/* Both refuse a model that learned labels without their dispersion. This one opens it: its energies, forces and virials lack
 * the D3 that equitensor_model_d3 names (functional and damping, as "pbe-bj"; null where nothing is missing). */
EQUITENSOR_API int equitensor_model_read_without_d3(const void* bytes, int64_t size, equitensor_model** model);
EQUITENSOR_API const char* equitensor_model_d3(const equitensor_model* model);
EQUITENSOR_API void equitensor_model_close(equitensor_model* model);

EQUITENSOR_API double equitensor_model_cutoff(const equitensor_model* model);
EQUITENSOR_API int equitensor_model_num_elements(const equitensor_model* model);
EQUITENSOR_API const int32_t* equitensor_model_elements(const equitensor_model* model); /* atomic numbers, rising */
EQUITENSOR_API int equitensor_model_num_features(const equitensor_model* model);
/* Error bars, where the model file has them (`equitensor uncertainty MODEL TRAIN`). The standard deviation of the energy (eV)
 * follows from sums over all atoms, num_sums of them: those that an evaluation gives, of all ranks added up. Without error
 * bars there are 0 sums, and it is not a number. */
EQUITENSOR_API int equitensor_model_num_sums(const equitensor_model* model);
EQUITENSOR_API double equitensor_model_energy_std(const equitensor_model* model, const double* sums);
EQUITENSOR_API const char* equitensor_model_header(const equitensor_model* model); /* the file's header, JSON */

/* The instruction sets that this processor has, the widest first; null beyond the last. */
EQUITENSOR_API const char* equitensor_instructions(int which);

/* Operations a second of one core with the widest registers when nothing but multiply-adds is done: what speeds are a share
 * of. It takes some hundredths of a second; precision is 32 or 64. */
EQUITENSOR_API double equitensor_peak(int precision);

/* Arrays for one simulation; precision is 32 or 64, threads at least 1. The model must outlive it. */
EQUITENSOR_API int equitensor_system_new(const equitensor_model* model, int precision, int threads,
                                         equitensor_system** system);
/* The same with one of the instruction sets above, instead of the widest. */
EQUITENSOR_API int equitensor_system_new_with(const equitensor_model* model, int precision, int threads,
                                              const char* instructions, equitensor_system** system);
EQUITENSOR_API void equitensor_system_free(equitensor_system* system);

/* Atoms and neighbours, until the next call. Atoms 0 .. owned-1 have energies; those up to total-1 (ghosts) only neighbour
 * them. z (total,) atomic numbers, 0 for an atom that takes no part. The neighbours of atom i are sender[start[i]] ..
 * sender[start[i + 1]], every pair of owned atoms in both rows ("full list"); pairs beyond the cutoff are passed over at
 * every evaluation, so that the list may hold more. */
EQUITENSOR_API int equitensor_system_neighbors(equitensor_system* system, int64_t owned, int64_t total,
                                               const int32_t* z, const int64_t* start, const int32_t* sender);

/* How owners and ghosts meet, once per round of messages; null where there are no ghosts. Rows of `width` values of
 * `precision` bits lie one after another for all atoms. forward: fill the ghosts' rows from their owners'. reverse: add the
 * ghosts' rows to their owners'. Both may only start this: wait, unless it is null, is called after each of them and
 * before what they change is read, while other atoms are computed in between. All return 0, or anything else to stop the
 * evaluation with an error.
 *
 * Rows that are read here stay as they are until the next evaluation, or the next neighbours.
 *
 * border: atoms 0 .. border-1 of the owned ones are all that have ghosts or are neighboured by them (others have no ghost
 * anywhere, and none as a neighbour); owned where that is not known. Only their rows and those of ghosts are ready to be
 * read, or there to be written, in an exchange. */
typedef struct {
  void* context;
  int64_t border;
  int (*forward)(void* context, void* rows, int width, int precision);
  int (*reverse)(void* context, void* rows, int width, int precision);
  int (*wait)(void* context);
} equitensor_exchange;

/* What is wanted, null or not. Sums are over owned atoms and their edges; forces and virials of ghosts belong to their
 * owners and have to be added there. Virials are -sum r (x) dE/dr, in the order xx, yy, zz, xy, xz, yz; an edge's is
 * shared by its two atoms. */
typedef struct {
  double energy; /* E0s included */
  double virial[6];
  double* energies; /* (owned,) */
  double* forces;   /* (total, 3), added to */
  double* virials;  /* (total, 6), added to */
  double* features; /* (owned, num_features): no rotation, reflection or translation changes them */
  /* Error bars, an error where the model has none. 0 of an atom that takes no part. */
  double* forces_std; /* (owned,), eV/Angstrom: of each component of the force on an atom */
  double* novelty;    /* (owned,): 1 where most training atoms of the element were more usual */
  double* sums;       /* (num_sums,), over owned atoms: see equitensor_model_energy_std */
} equitensor_result;

/* pos (total, 3); shift (start[owned], 3) or null: the vector from neighbour j to atom i is pos_i - pos_j + shift. Periodic
 * images are either shifts or ghosts. */
EQUITENSOR_API int equitensor_system_evaluate(equitensor_system* system, const double* pos, const double* shift,
                                              const equitensor_exchange* exchange, equitensor_result* result);

#ifdef __cplusplus
}
#endif

#endif
