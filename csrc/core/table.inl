// The kernels of this instruction set.

template <class T>
constexpr Kernels<T> make_table() {
  Kernels<T> table{};
  table.edge_gather = edge_gather<T>;
  table.edge_read = edge_read<T>;
  table.edge_gradient = edge_gradient<T>;
  table.channel_product = channel_product<T>;
  table.density_product = density_product<T>;
  table.density_product_tangents = density_product_tangents<T>;
  table.degree_linear = degree_linear<T>;
  table.degree_outer = degree_outer<T>;
  table.edge_geometry = edge_geometry<T>;
  table.edge_geometry_tangents = edge_geometry_tangents<T>;
  table.uvu_values = uvu_values<T>;
  table.uvu_gradients = uvu_gradients<T>;
  table.uvu_tangents = uvu_tangents<T>;
  table.uuu_product = uuu_product<T>;
  table.uuu_product_tangents = uuu_product_tangents<T>;
  table.many_body = many_body<T>;
  table.many_body_tangents = many_body_tangents<T>;
  table.matrix_product = multiply<T>;
  table.padded = padded<T>;
  table.silu = silu<T>;
  table.silu_backward = silu_backward<T>;
  table.silu_second = silu_second<T>;
  return table;
}

template <class T>
constexpr Kernels<T> table = make_table<T>();
