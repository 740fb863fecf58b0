/* pair_style equitensor [float32|float64]: a potential trained by equitensor, in LAMMPS, over any number of MPI ranks.
 *
 *     pair_style equitensor
 *     pair_coeff * * model.eqt Al Cu        # elements of the types 1, 2, ...; NULL under hybrid/overlay
 *
 * A thin user of csrc/core/potential.h: it hands over positions and the neighbour list, and carries the features of atoms
 * from owners to ghosts and their gradients back, once per round of messages, so that ghosts reach no further than one
 * cutoff. Units metal or real.
 */
#ifndef LMP_PAIR_EQUITENSOR_H
#define LMP_PAIR_EQUITENSOR_H

#include <cstdint>
#include <string>
#include <vector>

#include "pair.h"

struct equitensor_model;
struct equitensor_system;

namespace LAMMPS_NS {

class PairEquitensor : public Pair {
 public:
  explicit PairEquitensor(class LAMMPS*);
  ~PairEquitensor() override;

  void settings(int, char**) override;
  void coeff(int, char**) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;

  void write_restart(FILE*) override;
  void read_restart(FILE*) override;
  void write_restart_settings(FILE*) override;
  void read_restart_settings(FILE*) override;

  int pack_forward_comm(int, int*, double*, int, int*) override;
  void unpack_forward_comm(int, int, double*) override;
  int pack_reverse_comm(int, int, double*) override;
  void unpack_reverse_comm(int, int*, double*) override;

  void add_tally_callback(class Compute*) override;
  double memory_usage() override;

 private:
  void open_model(const char* path);
  void map_types(int count, char** elements);
  void start_system();
  void refuse_excluded_pairs();
  void refuse_without_dispersion();
  void refuse_pairs_of_other_styles();
  void update_neighbors();
  bool types_changed() const;
  void find_origins();
  void convert_neighbors();
  double reach_of_list() const;
  void find_shifts();
  void add_results(double energy, const double* virial, double* forces, double* virials);
  void require(int failed);

  static int forward(void* pair, void* rows, int width, int bits);
  static int reverse(void* pair, void* rows, int width, int bits);
  bool set_rows(void* rows, int width, int bits);
  void pack(size_t row, double* buffer) const;
  bool is_image(int ghost) const { return origin[ghost].atom != ghost; }

  equitensor_model* model = nullptr;
  equitensor_system* system = nullptr;
  int precision = 32, threads = 0;
  bool without_d3 = false;        // a model that lacks its dispersion is wanted so
  double scale = 1.0;             // energies of eV in the units of the simulation
  std::string path;               // of the model file, for messages
  std::vector<int32_t> z_of_type; // 0: takes no part
  std::vector<char> known;        // whether LAMMPS gave this style the pair of types
  bool pairs_checked = false;

  // The neighbour list as the core wants it. A neighbour that is a periodic image of an atom on this rank is that atom and
  // a shift, so that nothing is exchanged for it.
  struct Origin {
    int32_t rank, atom;
  };
  std::vector<Origin> origin;
  int total = 0; // atoms up to the last ghost that is none of these images
  std::vector<int32_t> z, counts, sender, image;
  std::vector<int64_t> start;
  std::vector<double> shift; // empty where no neighbour is such an image
  double box[6] = {};        // that the shifts are of
  std::vector<double> energies, forces, virials; // where LAMMPS's own arrays cannot be added to directly

  // What is being exchanged: rows of `width` numbers of `bits` bits, `bytes` in all, each packed into `slots` doubles.
  char* rows = nullptr;
  int width = 0, bits = 0, slots = 0;
  size_t bytes = 0, packed = 0;  // swaps so far
  std::vector<char> inside;      // by swap: whether the rank swaps with itself
  bool from_inside = false, measuring = false, finding_origins = false;
};

} // namespace LAMMPS_NS

#endif
