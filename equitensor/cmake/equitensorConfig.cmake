# find_package(equitensor) for C++ programs, from an installed Python package: the library and its C headers as
# equitensor::equitensor. `cmake -Dequitensor_DIR=$(python -c "from equitensor import core; print(core.CMAKE)")`
get_filename_component(_package "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(_library "${_package}/libequitensor${CMAKE_SHARED_LIBRARY_SUFFIX}")
if(EXISTS "${_package}/csrc/core")
  set(_headers "${_package}/csrc/core")
else() # an editable installation: the sources lie beside the package
  get_filename_component(_headers "${_package}/../csrc/core" ABSOLUTE)
endif()
if(EXISTS "${_library}")
  add_library(equitensor::equitensor SHARED IMPORTED)
  set_target_properties(equitensor::equitensor PROPERTIES IMPORTED_LOCATION "${_library}" INTERFACE_INCLUDE_DIRECTORIES
                                                                                          "${_headers}")
else()
  set(equitensor_FOUND FALSE)
  set(equitensor_NOT_FOUND_MESSAGE "${_library} was not built: the package computes in plain torch")
endif()
