/* pair_style equitensor [float32|float64] [error_bars] [without_d3]: a potential trained by equitensor, in LAMMPS, over any
 * number of MPI ranks.
 *
 *     pair_style equitensor
 *     pair_coeff * * model.eqt Al Cu        # elements of the types 1, 2, ...; NULL under hybrid/overlay
 *
 * A thin user of csrc/core/potential.h: it hands over positions and the neighbour list, and carries the features of atoms
 * to other ranks and their gradients back, once per round of messages, so that ghosts reach no further than one cutoff.
 * Units metal or real.
 */
#ifndef LMP_PAIR_EQUITENSOR_H
#define LMP_PAIR_EQUITENSOR_H

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <mpi.h>

#include "pair.h"
#include "potential.h"

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

  void add_tally_callback(class Compute*) override;
  double memory_usage() override;

  void* extract(const char*, int&) override;
  void* extract_peratom(const char*, int&) override;

  struct Owner {
    int32_t rank, atom;  // where the rank has it
  };
  // A rank that rows go to or come from: which of the message's, and whether they lie so in the core, too.
  struct Peer {
    int rank, first, count;
    bool in_place = false;
  };

 private:
  void take_settings();
  void open_model(const char* path);
  void map_types(int count, char** elements);
  void start_system();
  void stop_system();
  void refuse_excluded_pairs();
  void refuse_without_dispersion();
  void refuse_without_error_bars();
  void refuse_pairs_of_other_styles();
  void update_neighbors();
  bool types_changed() const;
  void find_owners();
  void read_list();
  double reach_of_list() const;
  void order_rows();
  void find_rows_in_place();
  std::vector<int32_t> request(const std::vector<Owner>& wanted);
  void convert_neighbors();
  void set_neighbors();
  void find_shifts();
  void add_results(const equitensor_result&);
  bool wants_error_bars() const;
  void allocate_error_bars(equitensor_result&);
  void add_error_bars(const equitensor_result&);
  void sum_error_bars();
  void require(int failed);

  static int forward(void* pair, void* rows, int width, int bits);
  static int reverse(void* pair, void* rows, int width, int bits);
  static int wait(void* pair);
  char* row(int k) const { return rows + k * bytes; }
  void start(void* rows, int width, int bits, bool back);
  void send(const Peer&, char* from);
  void receive(const Peer&, char* to);
  static void complete(std::vector<MPI_Request>&);

  equitensor_model* model = nullptr;
  equitensor_system* system = nullptr;
  int precision = 32, threads = 0;
  bool without_d3 = false;         // a model that lacks its dispersion is wanted so
  double scale = 1.0;              // energies of eV in the units of the simulation
  std::string path;                // of the model file, for messages
  std::vector<int32_t> z_of_type;  // 0: takes no part
  std::vector<char> known;         // whether LAMMPS gave this style the pair of types
  bool pairs_checked = false;

  // The neighbour list, LAMMPS's and then by rows of the core; see neighbors.cpp.
  std::vector<Owner> owner;  // of LAMMPS's atoms
  std::vector<int64_t> near_start, start_of;
  std::vector<int32_t> near, row_of, atom_of, z, sender, image;
  int owned = 0, border = 0;
  bool listed = false;
  std::vector<double> shift;                                // empty where no neighbour is an image
  double box[6] = {};                                       // that the shifts are of
  std::vector<double> position, energies, forces, virials;  // by rows

  // Error bars; see error_bars.cpp.
  bool error_bars = false;
  struct OfAtoms {
    std::vector<double> values{NAN};  // of LAMMPS's atoms, and never without an address
    int asked = 0;                    // whether a fix pair wants them at this step, which it says itself if `triggered`
    bool triggered = false;
  };
  OfAtoms novelty, forces_std;
  std::vector<double> novelty_of_row, forces_std_of_row, sums;

  // What is exchanged: rows of `width` values of `bits` bits, `bytes` in all; see exchange.cpp.
  std::vector<Peer> sends, receives;
  std::vector<int32_t> sent_rows;        // of atoms that other ranks need, rank after rank
  std::vector<char> outgoing, incoming;  // these rows on their way there, and what comes back, unless they are in place
  std::vector<MPI_Request> sending, receiving;
  char* rows = nullptr;
  int width = 0, bits = 0;
  size_t bytes = 0;
  bool returning = false;
};

}  // namespace LAMMPS_NS

#endif
