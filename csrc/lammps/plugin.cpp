/* What LAMMPS calls when it loads the plug-in. Its lammpsplugin.h is not installed with LAMMPS, so that the interface is
 * stated here: the strings of a style, the function that makes one, and the handle of the library. */

#include <cstdio>

#include "pair_equitensor.h"

#ifndef EQUITENSOR_LAMMPS_VERSION
#define EQUITENSOR_LAMMPS_VERSION nullptr  // LAMMPS does not compare then
#endif

// Of LAMMPS's C interface; absent where LAMMPS does not export it.
extern "C" __attribute__((weak)) int lammps_extract_setting(void* lammps, const char* name);

namespace {

struct Style {
  const char* version;  // of the LAMMPS whose headers were used; LAMMPS warns where it is another
  const char* style;
  const char* name;
  const char* info;
  const char* author;
  void* (*create)(void* lammps);
  void* handle;
};

using Register = void (*)(Style*, void* lammps);

void* create(void* lammps) { return new LAMMPS_NS::PairEquitensor(static_cast<LAMMPS_NS::LAMMPS*>(lammps)); }

/* Whether the integers of the LAMMPS that loads this are those of its headers as compiled here. */
bool same_integers(void* lammps) {
  if (!lammps_extract_setting) return true;
  return lammps_extract_setting(lammps, "bigint") == static_cast<int>(sizeof(LAMMPS_NS::bigint)) &&
         lammps_extract_setting(lammps, "tagint") == static_cast<int>(sizeof(LAMMPS_NS::tagint)) &&
         lammps_extract_setting(lammps, "imageint") == static_cast<int>(sizeof(LAMMPS_NS::imageint));
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lammps, void* handle, void* regfunc) {
  if (!same_integers(lammps)) {
    std::fprintf(
        stderr,
        "pair_style equitensor is not loaded: it was compiled for other sizes of integers than this LAMMPS has; "
        "build it with CXXFLAGS=-DLAMMPS_BIGBIG, or as `lmp -h` says under compile time flags\n");
    return;
  }
  // LAMMPS copies it.
  Style style = {EQUITENSOR_LAMMPS_VERSION,
                 "pair",
                 "equitensor",
                 "potentials trained by equitensor",
                 "equitensor",
                 create,
                 handle};
  reinterpret_cast<Register>(regfunc)(&style, lammps);
}
