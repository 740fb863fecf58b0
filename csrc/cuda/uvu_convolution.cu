// z_i = sum over edges e: j -> i of w_e (x_j (x) y_e), path by path, and its derivatives: see
// equitensor/ops/uvu_convolution.py. A block takes one node or a few, and a tile of channels, a thread a channel.
//
// Coupling and y fold into a small matrix M (2 l1 + 1, 2 l3 + 1) per edge and path, which the threads of a block make
// together. Sums over a node's edges stay in registers; nothing is added to memory, so that all sums have one order.
//
// All orders are one form. S = sum over edges of w M x g, and of it the terms
//     x moved: w M a g,   y moved: w M' x g,   w moved: b M x g      (a, M', b: the tangents of x, M and w)
// The values are the term with a = x, the gradients those with a = x or b = w, the tangents all that are given.
#include "threads.h"

#include "lane_sums.h"
#include "unroll.h"

// Rows of x and g come channels last, (2 l + 1, C) per irrep, as uvu_turn makes them; those of z and the gradient w.r.t. x
// are written once, in the operator's own layout (C, 2 l + 1).
//
// Of a path: where its blocks lie in the rows of x, w and z; channels; 2 l + 1 of x and z; its entries of M; where the
// thread keeps its sums.
struct Path {
  int x, w, z, mul, i, k, first, last, sums;
};
// Groups that a block takes, one by one; their channels; how many sums a thread keeps.
struct Part {
  int first, last, mul, sums;
};
// Paths whose matrices M are in shared memory together.
struct Group {
  int first, last;
};
// M_ik = sum over terms first..last of c y_j. Behind those of a path come some without terms, up to whole vectors.
struct Entry {
  int i, k, first, last;
};
// A block (channels, size) of a row.
struct Block {
  int start, mul, size;
};

#include "problem.h"

[[maybe_unused]] constexpr bool SENT_W = MOVED_W || GRADIENTS;  // the gradient w.r.t. x has the term of b
constexpr bool RECEIVES = SUMS || WANTED_Y || WANTED_W;
constexpr int MATRICES = MOVED_Y ? 2 : 1;  // M, and M' behind it
constexpr int WARPS = LANES > 32 ? LANES / 32 : 1;

// Blocks on a multiprocessor at least: up to 168 registers a thread in float32, 255 in float64.
#define EQUITENSOR_BOUNDS __launch_bounds__(LANES* ROWS, sizeof(T) == 4 ? 3 : 2)

constexpr int VECTOR = 16 / sizeof(T);
struct alignas(16) Vector {
  T at[VECTOR];
};

// body(Int<n>, M_n) for the entries of M of a path, which begin at `M`, read as vectors.
template <int FIRST, int LAST, class F>
EQUITENSOR_DEVICE void over_entries(const T* M, const F& body) {
  unroll<0, (LAST - FIRST + VECTOR - 1) / VECTOR>([&](auto v) {
    constexpr int BEGIN = FIRST + v.value * VECTOR, END = BEGIN + VECTOR < LAST ? BEGIN + VECTOR : LAST;
    const Vector m = reinterpret_cast<const Vector*>(M)[v.value];
    unroll<BEGIN, END>([&](auto n) { body(n, m.at[n.value - BEGIN]); });
  });
}

// Edges of the rows of a block, some at a time.
struct Edges {
  const Index *order, *start;
  Index node, nodes, first, last, longest;

  EQUITENSOR_DEVICE Edges(Index nodes_, const Index* order_, const Index* start_)
      : order(order_), start(start_), nodes(nodes_) {
    const Index base = Index(blockIdx.x) * ROWS;
    node = base + threadIdx.y;
    first = node < nodes ? start[node] : 0;
    last = node < nodes ? start[node + 1] : 0;
    longest = 0;
    for (int row = 0; row < ROWS && base + row < nodes; row++) {
      const Index degree = start[base + row + 1] - start[base + row];
      longest = degree > longest ? degree : longest;
    }
  }
  EQUITENSOR_DEVICE bool has(Index n) const { return first + n < last; }
  EQUITENSOR_DEVICE Index operator[](Index n) const { return order[first + n]; }
};

EQUITENSOR_DEVICE T* matrix(T* stage, int slot) {
  return stage + (threadIdx.y * EDGES + slot) * MATRICES * MOST_ENTRIES;
}

// M of the next edges of each row, for the entries FIRST..LAST.
template <class Plan, int FIRST, int LAST>
EQUITENSOR_DEVICE void fold(const Edges& edges, Index at, const T* y, const T* h_y, T* stage) {
  static constexpr int COUNT = LAST - FIRST;
  __syncthreads();
  for (int n = threadIdx.x; n < EDGES * COUNT; n += LANES) {
    const int slot = n / COUNT, entry = n % COUNT;
    if (!edges.has(at + slot)) break;
    const Index row = edges[at + slot] * WIDTH_Y;
    T straight = 0, turned = 0;
    for (int t = Plan::starts()[FIRST + entry]; t < Plan::starts()[FIRST + entry + 1]; t++) {
      const int j = Plan::columns()[t];
      straight += Plan::factors()[t] * y[row + j];
      if (MOVED_Y) turned += Plan::factors()[t] * h_y[row + j];
    }
    matrix(stage, slot)[entry] = straight;
    if (MOVED_Y) matrix(stage, slot)[MOST_ENTRIES + entry] = turned;
  }
  __syncthreads();
}

struct Operands {
  const T *x, *a, *y, *h_y, *w, *b, *g;
};

// What an edge gives to a channel of one path: to z, and to the gradients w.r.t. y and w. M begins with the entry BASE.
template <int P, int BASE, int SIZE>
EQUITENSOR_DEVICE void receive_path(const Operands& at, Index edge, Index from, int c, const T* M, const T (&g)[SIZE],
                                    T (&sums)[SIZE], T (&of_y)[WIDTH_Y], T* of_w) {
  using Plan = ByReceiver;
  static constexpr Path p = Plan::PATH[P];
  static constexpr bool STRAIGHT = MOVED_X || MOVED_W;
  const Index weight = edge * WIDTH_W + p.w + c;
  const T w = MOVED_X || MOVED_Y ? at.w[weight] : T(0), b = MOVED_W ? at.b[weight] : T(0);
  T x[p.i], a[p.i], straight[p.i], turned[p.i], back[p.i], turned_back[p.i];
  unroll<0, p.i>([&](auto i) {
    const Index place = from * WIDTH_X + p.x + i * p.mul + c;
    x[i] = MOVED_Y || MOVED_W ? at.x[place] : T(0);
    a[i] = MOVED_X ? at.a[place] : T(0);
    straight[i] = (MOVED_X ? w * a[i] : T(0)) + (MOVED_W ? b * x[i] : T(0));
    turned[i] = w * x[i];
    back[i] = turned_back[i] = 0;
  });
  if constexpr (STRAIGHT)
    over_entries<p.first, p.last>(M + p.first - BASE, [&](auto n, T m) {
      static constexpr Entry entry = Plan::ENTRY[n.value];
      static constexpr int I = entry.i, K = p.sums + entry.k;
      if (SUMS) sums[K] += m * straight[I];
      if (WANTED_W && MOVED_X) back[I] += m * g[K];
      if constexpr (WANTED_Y) {
        const T pair = straight[I] * g[K];
        unroll<entry.first, entry.last>([&](auto t) { of_y[Plan::COLUMN[t.value]] += Plan::FACTOR[t.value] * pair; });
      }
    });
  if constexpr (MOVED_Y)
    over_entries<p.first, p.last>(M + MOST_ENTRIES + p.first - BASE, [&](auto n, T m) {
      static constexpr Entry entry = Plan::ENTRY[n.value];
      static constexpr int I = entry.i, K = p.sums + entry.k;
      if (SUMS) sums[K] += m * turned[I];
      if (WANTED_W) turned_back[I] += m * g[K];
    });
  if constexpr (WANTED_W) {
    T sum = 0;
    unroll<0, p.i>([&](auto i) {
      if (MOVED_X) sum += a[i] * back[i];
      if (MOVED_Y) sum += x[i] * turned_back[i];
    });
    of_w[weight] = sum;
  }
}

// Gradients w.r.t. y of the edges `at`.. of each row: summed over the warps of a row, one result per block of channels.
EQUITENSOR_DEVICE void write_gradients(const Edges& edges, Index at, Index count, const T* warps, T* of_y) {
  for (int n = threadIdx.x; n < EDGES * WIDTH_Y; n += LANES) {
    const int slot = n / WIDTH_Y, j = n % WIDTH_Y;
    if (!edges.has(at + slot)) break;
    T sum = 0;
    for (int warp = 0; warp < WARPS; warp++) sum += warps[((threadIdx.y * EDGES + slot) * WARPS + warp) * WIDTH_Y + j];
    const Index block = Index(blockIdx.z) * gridDim.y + blockIdx.y;
    of_y[(block * count + edges[at + slot]) * WIDTH_Y + j] = sum;
  }
}

// Part N of the paths, one group, for the receivers of this block.
template <int N>
EQUITENSOR_DEVICE void receive(const Edges& edges, Index count, const Index* sender, const Operands& at, T* z, T* of_y,
                               T* of_w, T* stage, T* warps) {
  using Plan = ByReceiver;
  static constexpr Part part = Plan::PART[N];
  static constexpr Group paths = Plan::GROUP[part.first];
  static constexpr int FIRST = Plan::PATH[paths.first].first, LAST = Plan::PATH[paths.last - 1].last;
  const int c = blockIdx.y * LANES + threadIdx.x;
  const bool works = edges.node < edges.nodes && c < part.mul;
  T sums[part.sums] = {}, g[part.sums] = {};
  unroll<paths.first, paths.last>([&](auto path) {
    static constexpr Path p = Plan::PATH[path.value];
    unroll<0, p.k>([&](auto k) {
      if ((WANTED_Y || WANTED_W) && works) g[p.sums + k] = at.g[edges.node * WIDTH_Z + p.z + k * p.mul + c];
    });
  });
  for (Index first = 0; first < edges.longest; first += EDGES) {
    fold<Plan, FIRST, LAST>(edges, first, at.y, at.h_y, stage);
    EQUITENSOR_NO_UNROLL
    for (int slot = 0; slot < EDGES; slot++) {
      T gradients[WIDTH_Y] = {};
      if (works && edges.has(first + slot)) {
        const Index edge = edges[first + slot], from = sender[edge];
        const T* M = matrix(stage, slot);
        unroll<paths.first, paths.last>(
            [&](auto p) { receive_path<p.value, FIRST>(at, edge, from, c, M, g, sums, gradients, of_w); });
      }
      if (WANTED_Y) {
        const int warp = (threadIdx.y * EDGES + slot) * WARPS + threadIdx.x / 32;
        sum_lanes<(LANES < 32 ? LANES : 32)>(gradients, threadIdx.x, 0, WIDTH_Y, true, warps + warp * WIDTH_Y);
      }
    }
    if (WANTED_Y) {
      __syncthreads();
      write_gradients(edges, first, count, warps, of_y);
    }
  }
  if (SUMS && works)
    unroll<paths.first, paths.last>([&](auto path) {
      static constexpr Path p = Plan::PATH[path.value];
      unroll<0, p.k>([&](auto k) { z[edges.node * WIDTH_Z + p.z + c * p.k + k] = sums[p.sums + k]; });
    });
}

// What an edge gives to the gradient w.r.t. x of a channel of one path.
template <int P, int BASE, int SIZE>
EQUITENSOR_DEVICE void send_path(const Operands& at, Index edge, Index to, int c, const T* M, T (&sums)[SIZE]) {
  using Plan = BySender;
  static constexpr Path p = Plan::PATH[P];
  const Index weight = edge * WIDTH_W + p.w + c;
  const T w = MOVED_Y ? at.w[weight] : T(0), b = SENT_W ? at.b[weight] : T(0);
  T g[p.k], back[p.i] = {}, turned_back[p.i] = {};
  unroll<0, p.k>([&](auto k) { g[k] = at.g[to * WIDTH_Z + p.z + k * p.mul + c]; });
  const T* own = M + p.first - BASE;
  if constexpr (SENT_W)
    over_entries<p.first, p.last>(own,
                                  [&](auto n, T m) { back[Plan::ENTRY[n.value].i] += m * g[Plan::ENTRY[n.value].k]; });
  if constexpr (MOVED_Y)
    over_entries<p.first, p.last>(
        own + MOST_ENTRIES, [&](auto n, T m) { turned_back[Plan::ENTRY[n.value].i] += m * g[Plan::ENTRY[n.value].k]; });
  unroll<0, p.i>([&](auto i) {
    if (SENT_W) sums[p.sums + i] += b * back[i];
    if (MOVED_Y) sums[p.sums + i] += w * turned_back[i];
  });
}

// Part N of the blocks of x for the senders of this block.
template <int N>
EQUITENSOR_DEVICE void send(const Edges& edges, const Index* receiver, const Operands& at, T* of_x, T* stage) {
  using Plan = BySender;
  static constexpr Part part = Plan::PART[N];
  const int c = blockIdx.y * LANES + threadIdx.x;
  const bool works = edges.node < edges.nodes && c < part.mul;
  T sums[part.sums] = {};
  for (Index first = 0; first < edges.longest; first += EDGES)
    unroll<part.first, part.last>([&](auto group) {
      static constexpr Group g = Plan::GROUP[group.value];
      static constexpr int FIRST = Plan::PATH[g.first].first, LAST = Plan::PATH[g.last - 1].last;
      fold<Plan, FIRST, LAST>(edges, first, at.y, at.h_y, stage);
      EQUITENSOR_NO_UNROLL
      for (int slot = 0; slot < EDGES; slot++) {
        if (!works || !edges.has(first + slot)) break;
        const Index edge = edges[first + slot], to = receiver[edge];
        const T* M = matrix(stage, slot);
        unroll<g.first, g.last>([&](auto p) { send_path<p.value, FIRST>(at, edge, to, c, M, sums); });
      }
    });
  if (!works) return;
  unroll<part.first, part.last>([&](auto group) {
    static constexpr Group g = Plan::GROUP[group.value];
    unroll<g.first, g.last>([&](auto path) {
      static constexpr Path p = Plan::PATH[path.value];
      unroll<0, p.i>([&](auto i) { of_x[edges.node * WIDTH_X + p.x + c * p.i + i] = sums[p.sums + i]; });
    });
  });
}

constexpr int STAGE = ROWS * EDGES * MATRICES * MOST_ENTRIES;

// z, the gradient w.r.t. w, and that w.r.t. y in parts (blocks of paths and channels, edges, width of y).
extern "C" __global__ void EQUITENSOR_BOUNDS
uvu_receive(Index nodes, Index count, const Index* __restrict__ order, const Index* __restrict__ start,
            const Index* __restrict__ sender, const T* __restrict__ x, const T* __restrict__ a, const T* __restrict__ y,
            const T* __restrict__ h_y, const T* __restrict__ w, const T* __restrict__ b, const T* __restrict__ g,
            T* __restrict__ z, T* __restrict__ of_y, T* __restrict__ of_w) {
  alignas(16) __shared__ T stage[STAGE];
  __shared__ T warps[WANTED_Y ? ROWS * EDGES * WARPS * WIDTH_Y : 1];
  const Edges edges(nodes, order, start);
  const Operands at{x, a, y, h_y, w, b, g};
  unroll<0, RECEIVES ? ByReceiver::PARTS : 0>([&](auto n) {
    if (blockIdx.z == n) receive<n.value>(edges, count, sender, at, z, of_y, of_w, stage, warps);
  });
}

// The gradient w.r.t. x.
extern "C" __global__ void EQUITENSOR_BOUNDS uvu_send(Index nodes, const Index* __restrict__ order,
                                                      const Index* __restrict__ start,
                                                      const Index* __restrict__ receiver, const T* __restrict__ y,
                                                      const T* __restrict__ h_y, const T* __restrict__ w,
                                                      const T* __restrict__ b, const T* __restrict__ g,
                                                      T* __restrict__ of_x) {
  alignas(16) __shared__ T stage[STAGE];
  const Edges edges(nodes, order, start);
  const Operands at{nullptr, nullptr, y, h_y, w, b, g};
  unroll<0, SENDS ? BySender::PARTS : 0>([&](auto n) {
    if (blockIdx.z == n) send<n.value>(edges, receiver, at, of_x, stage);
  });
}

// Row blockIdx.x with its blocks (C, 2 l + 1) as blocks (2 l + 1, C).
template <class Blocks>
EQUITENSOR_DEVICE void turn(Index width, const T* from, T* to) {
  const Index row = Index(blockIdx.x) * width;
  unroll<0, Blocks::COUNT>([&](auto n) {
    static constexpr Block b = Blocks::BLOCK[n.value];
    for (int at = threadIdx.x; at < b.mul * b.size; at += blockDim.x)
      to[row + b.start + at] = from[row + b.start + at % b.mul * b.size + at / b.mul];
  });
}

extern "C" __global__ void EQUITENSOR_BOUNDS uvu_turn_x(const T* __restrict__ from, T* __restrict__ to) {
  turn<BlocksOfX>(WIDTH_X, from, to);
}

extern "C" __global__ void EQUITENSOR_BOUNDS uvu_turn_z(const T* __restrict__ from, T* __restrict__ to) {
  turn<BlocksOfZ>(WIDTH_Z, from, to);
}
