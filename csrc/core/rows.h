// Rows of features in e3nn's layout, blocks (C, 2 l + 1), and with channels last, blocks (2 l + 1, padded C).
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

namespace equitensor {

// A block (mul, size) at `start` of a row; with channels last (size, lanes) at `last`, zeros behind the channels.
struct Rows {
  int64_t start, mul, size, last, lanes;
};

template <int size, class T>
inline void block_channels_last(const Rows& b, int64_t any, const T* row, T* turned) {
  const int64_t width = size ? size : any;
  for (int64_t c = 0; c < b.mul; c++)
    for (int64_t m = 0; m < width; m++) turned[m * b.lanes + c] = row[c * width + m];
  for (int64_t m = 0; m < width; m++)
    for (int64_t c = b.mul; c < b.lanes; c++) turned[m * b.lanes + c] = 0;
}

template <int size, class T>
inline void block_components_last(const Rows& b, int64_t any, const T* turned, T* row) {
  const int64_t width = size ? size : any;
  for (int64_t c = 0; c < b.mul; c++)
    for (int64_t m = 0; m < width; m++) row[c * width + m] = turned[m * b.lanes + c];
}

// The sizes that occur are constants for the compiler: the loops over them are short.
template <class F>
inline void with_size(int64_t size, const F& body) {
  switch (size) {
    case 1: return body(std::integral_constant<int, 1>{});
    case 3: return body(std::integral_constant<int, 3>{});
    case 5: return body(std::integral_constant<int, 5>{});
    case 7: return body(std::integral_constant<int, 7>{});
    default: body(std::integral_constant<int, 0>{});
  }
}

template <class T>
__attribute__((noinline)) void channels_last(const std::vector<Rows>& blocks, const T* row, T* turned) {
  for (const Rows& b : blocks)
    with_size(b.size, [&](auto size) { block_channels_last<size()>(b, b.size, row + b.start, turned + b.last); });
}

template <class T>
__attribute__((noinline)) void components_last(const std::vector<Rows>& blocks, const T* turned, T* row) {
  for (const Rows& b : blocks)
    with_size(b.size, [&](auto size) { block_components_last<size()>(b, b.size, turned + b.last, row + b.start); });
}

}  // namespace equitensor
