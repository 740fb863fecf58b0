// Rows of features in e3nn's layout, blocks (C, 2 l + 1), and with channels last, blocks (2 l + 1, padded C).
#pragma once

#include <cstdint>
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
template <class T>
__attribute__((noinline)) void channels_last(const std::vector<Rows>& blocks, const T* row, T* turned) {
  for (const Rows& b : blocks) switch (b.size) {
      case 1: block_channels_last<1>(b, 1, row + b.start, turned + b.last); break;
      case 3: block_channels_last<3>(b, 3, row + b.start, turned + b.last); break;
      case 5: block_channels_last<5>(b, 5, row + b.start, turned + b.last); break;
      case 7: block_channels_last<7>(b, 7, row + b.start, turned + b.last); break;
      default: block_channels_last<0>(b, b.size, row + b.start, turned + b.last);
    }
}

template <class T>
__attribute__((noinline)) void components_last(const std::vector<Rows>& blocks, const T* turned, T* row) {
  for (const Rows& b : blocks) switch (b.size) {
      case 1: block_components_last<1>(b, 1, turned + b.last, row + b.start); break;
      case 3: block_components_last<3>(b, 3, turned + b.last, row + b.start); break;
      case 5: block_components_last<5>(b, 5, turned + b.last, row + b.start); break;
      case 7: block_components_last<7>(b, 7, turned + b.last, row + b.start); break;
      default: block_components_last<0>(b, b.size, turned + b.last, row + b.start);
    }
}

}  // namespace equitensor
