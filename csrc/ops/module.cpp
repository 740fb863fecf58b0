// All operators in one translation unit: torch's headers cost more to compile than the operators.
// The extension is a Python module only so that setuptools builds it; importing it registers the operators.

#include <Python.h>

#include <array>
#include <numeric>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "operator.h"

#include "channel_product.inl"
#include "degree_linear.inl"
#include "density_product.inl"
#include "edge_form.inl"
#include "edge_geometry.inl"
#include "many_body.inl"
#include "silu.inl"
#include "uuu_product.inl"
#include "uvu_convolution.inl"
#include "radial_convolution.inl"
#include "uvu_product.inl"

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def("cpu_instruction_set() -> str", [] { return std::string(equitensor::instruction_set()); });
#ifdef _OPENMP
  m.def("openmp() -> bool", [] { return true; });
#else
  m.def("openmp() -> bool", [] { return false; });  // then at::parallel_for is a loop of one thread
#endif
}

static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", nullptr, -1, nullptr};

PyMODINIT_FUNC PyInit__kernels() { return PyModule_Create(&module); }
