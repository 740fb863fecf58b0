// The library itself: its last error, what it was built with, what it runs on.

#include "call.h"

namespace equitensor {
namespace {

thread_local char last_error[1024] = "";

}  // namespace

int failed(int code, const char* message) noexcept {
  std::strncpy(last_error, message, sizeof(last_error) - 1);
  return code;
}

}  // namespace equitensor

extern "C" {

const char* equitensor_error(void) { return equitensor::last_error; }

const char* equitensor_instruction_set(void) { return equitensor::instruction_set(); }

int equitensor_has_openmp(void) {
#if defined(_OPENMP)
  return 1;
#else
  return 0;
#endif
}

}  // extern "C"
