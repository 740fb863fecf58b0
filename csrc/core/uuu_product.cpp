// Products channel by channel, path by path, and their derivatives.

#include "call.h"

using namespace equitensor;

namespace {

struct Blocks {
  const int64_t* sizes;
  int64_t count;
};

std::vector<Component> components(const Blocks& blocks, int64_t channels, bool channels_last) {
  std::vector<Component> places;
  int64_t start = 0;
  for (int64_t n = 0; n < blocks.count; n++) {
    const int64_t size = blocks.sizes[n];
    for (int64_t m = 0; m < size; m++)
      places.push_back(channels_last ? Component{(start + m) * channels, 1} : Component{start * channels + m, size});
    start += size;
  }
  return places;
}

// The nonzero entries of a path's coupling; advances past them in the table.
template <class T>
const T* add_path(UUUProduct<T>& u, const int64_t* row, const T* coupling) {
  const int64_t px = row[0], py = row[1], pw = row[2], pz = row[3], i = row[4], j = row[5], k = row[6];
  for (int64_t c = 0; c < k; c++) {
    for (int64_t a = 0; a < i; a++) {
      const size_t before = u.entries.size();
      for (int64_t b = 0; b < j; b++, coupling++)
        if (*coupling != 0) u.entries.push_back({*coupling, static_cast<int32_t>(py + b)});
      if (u.entries.size() > before)
        u.groups.push_back({static_cast<int32_t>(px + a), static_cast<int32_t>(u.entries.size()), 0});
    }
    u.terms.push_back({static_cast<int32_t>(pw), static_cast<int32_t>(pz + c), static_cast<int32_t>(u.groups.size())});
  }
  return coupling;
}

template <class T>
void add_paths(UUUProduct<T>& u, const int64_t* plan, int64_t paths, const T* table, int64_t table_length) {
  const int64_t d1 = u.x.size(), d2 = u.y.size(), d3 = u.z.size(), rows = u.w.size();
  int64_t length = 0;
  for (int64_t n = 0; n < paths; n++) {
    const int64_t* row = plan + 7 * n;
    const bool positive = std::all_of(row, row + 7, [](int64_t number) { return number >= 0; });
    require(positive && row[0] + row[4] <= d1 && row[1] + row[5] <= d2 && row[3] + row[6] <= d3 && row[2] < rows,
            "uuu_product: path ", n, " lies beyond its operands");
    length += row[4] * row[5] * row[6];
  }
  require(length == table_length, "uuu_product: table holds ", table_length, " values, expected ", length);
  for (int64_t n = 0; n < paths; n++) table = add_path(u, plan + 7 * n, table);
}

}  // namespace

int equitensor_uuu_product(int precision, int64_t items, int64_t channels, int64_t channels_last, int64_t rows_w,
                           int64_t items_w, int64_t channels_w, int64_t paths, int64_t table_length, int64_t blocks_x,
                           int64_t blocks_y, int64_t blocks_z, int64_t tangents, const void* x, const void* y,
                           const void* w, const void* g, const void* h_x, const void* h_y, const void* h_w,
                           const void* table, const int64_t* plan, const int64_t* sizes_x, const int64_t* sizes_y,
                           const int64_t* sizes_z, void* z, void* dx, void* dy, void* dw, int threads) {
  return in_precision(precision, [&](auto number) {
    using T = decltype(number);
    UUUProduct<T> u;
    u.channels = channels;
    u.x = components({sizes_x, blocks_x}, channels, channels_last != 0);
    u.y = components({sizes_y, blocks_y}, channels, channels_last != 0);
    u.z = components({sizes_z, blocks_z}, channels, channels_last != 0);
    // The weights of an item: path p lies p (items) (channels) elements further on.
    u.width_w = items_w > 1 ? channels_w : 0;
    for (int64_t p = 0; p < rows_w; p++)
      u.w.push_back({p * items_w * channels_w, channels_w > 1 || channels == 1 ? 1 : 0});
    add_paths(u, plan, paths, from<T>(table), table_length);
    const auto kernel = tangents ? kernels<T>().uuu_product_tangents : kernels<T>().uuu_product;
    const auto body = [&](int64_t first, int64_t last, T* sum) {
      const UUUArrays<T> at{from<T>(x),   from<T>(y), from<T>(w),  from<T>(g),  from<T>(h_x), from<T>(h_y),
                            from<T>(h_w), into<T>(z), into<T>(dx), into<T>(dy), sum};
      kernel(u, first, last, at);
    };
    const int64_t each = static_cast<int64_t>(u.entries.size()) * channels * (tangents ? 6 : g ? 2 : 1);
    const int64_t weights = rows_w * items_w * channels_w;
    if (u.width_w) {  // weights of their own belong to one item each
      clear(into<T>(dw), weights);
      parallel_for(items, items_per_task(each), threads,
                   [&](int64_t first, int64_t last) { body(first, last, into<T>(dw)); });
    } else {
      add_in_order(items, each, threads, std::array<Total<T>, 1>{{{into<T>(dw), weights}}},
                   [&](int64_t first, int64_t last, const auto& sums) { body(first, last, sums[0]); });
    }
  });
}
