// What the functions of equitensor.h share: failures as codes with a message, precision, buffers that a call needs.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "equitensor.h"
#include "kernels.h"
#include "parallel.h"

namespace equitensor {

// What a caller gave that cannot be; its message goes to equitensor_error.
struct InvalidArgument : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] __attribute__((noinline)) void refuse(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw InvalidArgument(text.str());
}

template <class... Parts>
inline void require(bool holds, const Parts&... parts) {
  if (!holds) refuse(parts...);
}

// A function of equitensor.h has failed inside another one, and its message is remembered already.
struct PassedOn {
  int code;
};

int failed(int code, const char* message) noexcept;  // remembers the message for this thread

// Runs body() and turns what it throws into a code.
template <class F>
int guarded(const F& body) noexcept {
  try {
    body();
    return EQUITENSOR_OK;
  } catch (const PassedOn& failure) {
    return failure.code;
  } catch (const InvalidArgument& error) {
    return failed(EQUITENSOR_INVALID_ARGUMENT, error.what());
  } catch (const std::bad_alloc&) {
    return failed(EQUITENSOR_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return failed(EQUITENSOR_FAILED, error.what());
  } catch (...) {
    return failed(EQUITENSOR_FAILED, "unknown failure");
  }
}

// body(number of that precision), guarded.
template <class F>
int in_precision(int precision, const F& body) noexcept {
  return guarded([&] {
    if (precision == EQUITENSOR_FLOAT32) return body(float());
    if (precision == EQUITENSOR_FLOAT64) return body(double());
    refuse("precision is ", precision, ": only float32 and float64 are known");
  });
}

// An argument that is an array of floating-point values.
template <class T>
const T* from(const void* array) {
  return static_cast<const T*>(array);
}
template <class T>
T* into(void* array) {
  return static_cast<T*>(array);
}

constexpr int64_t OPERATIONS_PER_TASK = 1 << 18;  // a thread is not worth waking for less

inline int64_t items_per_task(int64_t operations_each) {
  return std::max<int64_t>(1, OPERATIONS_PER_TASK / std::max<int64_t>(1, operations_each));
}

// Large memory that is written once asks for large pages, whose first touch costs a tenth of that of small ones.
inline void ask_for_large_pages(void* memory, int64_t bytes) {
#if defined(__linux__)
  constexpr int64_t LARGE = 1 << 22, PAGE = 4096;
  if (bytes < LARGE) return;
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + PAGE - 1) & ~uintptr_t(PAGE - 1);
  madvise(reinterpret_cast<void*>(begin), bytes - PAGE, MADV_HUGEPAGE);  // advice: may be refused
#else
  (void)memory, (void)bytes;
#endif
}

// An uninitialised array, aligned to a cache line.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) : memory_(std::aligned_alloc(64, (count * sizeof(T) / 64 + 1) * 64)) {
    if (!memory_) throw std::bad_alloc();
    ask_for_large_pages(memory_, count * sizeof(T));
  }
  Buffer(Buffer&& other) noexcept : memory_(other.memory_) { other.memory_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Buffer() { std::free(memory_); }
  T* data() const { return static_cast<T*>(memory_); }

 private:
  void* memory_ = nullptr;
};

// A result to which ranges of items add: null where it is not wanted.
template <class T>
struct Total {
  T* data;
  int64_t count;
};

template <class T>
void clear(T* data, int64_t count) {
  if (data) std::fill(data, data + count, T(0));
}

// Runs body(first, last, totals) over ranges of `items` that cover them. Totals start at zero; what the ranges add to
// theirs is added up in the order of the ranges, so that a number of threads always gives the same sums.
template <class T, size_t N, class F>
void add_in_order(int64_t items, int64_t operations_each, int threads, const std::array<Total<T>, N>& totals,
                  const F& body) {
  const int64_t ranges = std::max<int64_t>(1, std::min<int64_t>(threads, items / items_per_task(operations_each)));
  std::vector<std::array<Buffer<T>, N>> own(ranges);
  std::vector<std::array<T*, N>> at(ranges);
  for (int64_t r = 0; r < ranges; r++)
    for (size_t k = 0; k < N; k++) {
      if (r && totals[k].data) own[r][k] = Buffer<T>(totals[k].count);
      at[r][k] = r ? own[r][k].data() : totals[k].data;
      clear(at[r][k], totals[k].count);
    }
  parallel_for(ranges, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) body(items * r / ranges, items * (r + 1) / ranges, at[r]);
  });
  for (size_t k = 0; ranges > 1 && k < N; k++) {
    if (!totals[k].data) continue;
    parallel_for(totals[k].count, 1 << 15, threads, [&](int64_t begin, int64_t end) {
      for (int64_t r = 1; r < ranges; r++)
        for (int64_t i = begin; i < end; i++) at[0][k][i] += at[r][k][i];
    });
  }
}

}  // namespace equitensor
