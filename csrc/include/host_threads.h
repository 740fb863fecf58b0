// The blocks and threads of CUDA on one thread of the host, for tests. Each thread of a block is a coroutine that runs
// until it waits: for its block at __syncthreads, for its warp at a shuffle. Threads run in rising or falling order, so
// that results which depend on the order, where a barrier is missing, show.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#define EQUITENSOR_DEVICE inline
#define EQUITENSOR_TABLE static const
#define EQUITENSOR_NO_UNROLL
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__ __restrict
using Index = long long;

namespace host {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
enum Wait { NOTHING, WARP, BLOCK, DONE };
constexpr int WARP_SIZE = 32, STACK = 1 << 17;

struct Thread {
  ucontext_t context;
  Dim index;
  Wait wait;
  double offered;  // to a shuffle
};

inline Dim grid_dim, block_dim, block_index;
inline std::vector<Thread> threads;
inline std::vector<char> stacks;
inline ucontext_t scheduler;
inline Thread* running;
inline void (*body)(void*);
inline void* body_arguments;

inline void pause(Wait wait) {
  running->wait = wait;
  swapcontext(&running->context, &scheduler);
}

inline void enter() {
  body(body_arguments);
  running->wait = DONE;
}

inline void start(Thread& thread, size_t n) {
  const size_t row = n / block_dim.x;
  thread.index = {unsigned(n % block_dim.x), unsigned(row % block_dim.y), unsigned(row / block_dim.y)};
  thread.wait = NOTHING;
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = stacks.data() + n * STACK;
  thread.context.uc_stack.ss_size = STACK;
  thread.context.uc_link = &scheduler;
  makecontext(&thread.context, enter, 0);
}

// Lets go who waits for the same as all the others of the group; says whether anyone was.
inline bool release(size_t first, size_t last, Wait wait) {
  for (size_t n = first; n < last; n++)
    if (threads[n].wait != wait) return false;
  for (size_t n = first; n < last; n++) threads[n].wait = NOTHING;
  return first < last;
}

// One block; false where some threads wait for others that have ended or wait elsewhere.
inline bool run_block(bool falling) {
  for (size_t n = 0; n < threads.size(); n++) start(threads[n], n);
  while (true) {
    for (size_t n = 0; n < threads.size(); n++) {
      running = &threads[falling ? threads.size() - 1 - n : n];
      if (running->wait == NOTHING) swapcontext(&scheduler, &running->context);
    }
    const auto done = [](const Thread& t) { return t.wait == DONE; };
    if (std::all_of(threads.begin(), threads.end(), done)) return true;
    bool moved = release(0, threads.size(), BLOCK);
    for (size_t first = 0; first < threads.size(); first += WARP_SIZE)
      moved |= release(first, std::min(threads.size(), first + WARP_SIZE), WARP);
    if (!moved) return false;
  }
}

template <class... A, size_t... N>
int run(void (*kernel)(A...), const unsigned* dims, void** arguments, bool falling, std::index_sequence<N...>) {
  std::tuple<void (*)(A...), A...> call{kernel, *static_cast<A*>(arguments[N])...};
  body_arguments = &call;
  body = [](void* all) {
    auto& c = *static_cast<decltype(call)*>(all);
    std::get<0>(c)(std::get<N + 1>(c)...);
  };
  grid_dim = {dims[0], dims[1], dims[2]};
  block_dim = {dims[3], dims[4], dims[5]};
  threads.assign(size_t(dims[3]) * dims[4] * dims[5], Thread{});
  stacks.resize(threads.size() * STACK);
  for (block_index.z = 0; block_index.z < grid_dim.z; block_index.z++)
    for (block_index.y = 0; block_index.y < grid_dim.y; block_index.y++)
      for (block_index.x = 0; block_index.x < grid_dim.x; block_index.x++)
        if (!run_block(falling)) return 1;
  return 0;
}

// Launches a kernel as the driver does: grid and block (6 integers), pointers to the arguments.
template <class... A>
int run(void (*kernel)(A...), const unsigned* dims, void** arguments, int falling) {
  return run(kernel, dims, arguments, falling != 0, std::index_sequence_for<A...>{});
}

}  // namespace host

#define gridDim host::grid_dim
#define blockDim host::block_dim
#define blockIdx host::block_index
#define threadIdx host::running->index

inline void __syncthreads() { host::pause(host::BLOCK); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  host::running->offered = value;
  host::pause(host::WARP);
  const T shuffled = static_cast<T>(host::threads[(host::running - host::threads.data()) ^ mask].offered);
  host::pause(host::WARP);
  return shuffled;
}
