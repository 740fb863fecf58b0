// Sums over the lanes of a warp.
#pragma once

// Sums of N values over groups of W lanes, W a power of two up to a warp, all lanes present: out[n] is written by one
// lane of the group. At each step half of the lanes keep half of the values and give away the others.
template <int W, int N, class T>
EQUITENSOR_DEVICE void sum_lanes(T (&v)[N], int lane, int begin, int count, bool writes, T* out) {
  if constexpr (W == 1) {
#pragma unroll
    for (int n = 0; n < N; n++)
      if (writes && n < count) out[begin + n] = v[n];
  } else if constexpr (N == 1) {
    T total[1] = {v[0] + __shfl_xor_sync(0xffffffffu, v[0], W / 2)};
    sum_lanes<W / 2>(total, lane, begin, count, writes && !(lane & (W / 2)), out);
  } else {
    constexpr int HALF = (N + 1) / 2;
    const bool upper = lane & (W / 2);
    T kept[HALF];
#pragma unroll
    for (int n = 0; n < HALF; n++) {
      const T low = v[n], high = n + HALF < N ? v[n + HALF] : T(0);
      kept[n] = (upper ? high : low) + __shfl_xor_sync(0xffffffffu, upper ? low : high, W / 2);
    }
    const int own = upper ? count - HALF : (count < HALF ? count : HALF);
    sum_lanes<W / 2>(kept, lane, begin + (upper ? HALF : 0), own, writes, out);
  }
}
