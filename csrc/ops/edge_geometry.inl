// Harmonics and radial functions of edge vectors in one operator: see equitensor/ops/edge_geometry.py.

namespace equitensor {
namespace edge_geometry {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

EdgeGeometry geometry(double cutoff, int64_t num_radial, int64_t lmax, const Tensor& index, const Tensor& coefficients) {
  TORCH_CHECK(index.dim() == 2 && index.size(0) == 3 && index.scalar_type() == at::kInt && index.is_contiguous() &&
                  coefficients.scalar_type() == at::kDouble && coefficients.is_contiguous(),
              "edge_geometry: expected index (3, t) int32 and coefficients (t,) float64");
  EdgeGeometry e{(lmax + 1) * (lmax + 1), num_radial, cutoff, {}};
  const int64_t count = index.size(1);
  const int32_t* out = index.const_data_ptr<int32_t>();
  for (int64_t t = 0; t < count; t++) {
    e.raising.push_back({out[t], out[count + t], out[2 * count + t], coefficients.const_data_ptr<double>()[t]});
    TORCH_CHECK(out[t] < e.components, "edge_geometry: index is beyond degree ", lmax);
  }
  return e;
}

template <class F>
void over_edges(const EdgeGeometry& e, int64_t edges, const F& body) {
  at::parallel_for(0, edges, items_per_task(8 * (e.raising.size() + 8 * e.num_radial)), body);
}

void check(const Tensor& vectors) {
  TORCH_CHECK(vectors.dim() == 2 && vectors.size(1) == 3, "edge_geometry: vectors has shape ", vectors.sizes(),
              ", expected (edges, 3)");
}

Three forward_cpu(const Tensor& vectors_, double cutoff, int64_t num_radial, int64_t lmax, const Tensor& index,
                  const Tensor& coefficients) {
  const Tensor vectors = vectors_.contiguous();
  check(vectors);
  const EdgeGeometry e = geometry(cutoff, num_radial, lmax, index, coefficients);
  const int64_t edges = vectors.size(0);
  Tensor Y = vectors.new_empty({edges, e.components}), f = vectors.new_empty({edges, num_radial});
  Tensor r = vectors.new_empty({edges, num_radial});
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "edge_geometry", [&] {
    using T = scalar_t;
    const GeometryArrays<T> at{vectors.const_data_ptr<T>(), nullptr,     nullptr,     nullptr, nullptr,
                               space<T>(Y),                 space<T>(f), space<T>(r), nullptr};
    over_edges(e, edges, [&](int64_t first, int64_t last) { kernels<T>().edge_geometry(e, first, last, at); });
  });
  return {Y, f, r};
}

Tensor first_cpu(const Tensor& vectors_, const Maybe& gY_, const Maybe& gf_, const Maybe& gr_, double cutoff,
                 int64_t num_radial, int64_t lmax, const Tensor& index, const Tensor& coefficients) {
  const Tensor vectors = vectors_.contiguous();
  check(vectors);
  const Maybe gY = contiguous(gY_), gf = contiguous(gf_), gr = contiguous(gr_);
  const EdgeGeometry e = geometry(cutoff, num_radial, lmax, index, coefficients);
  Tensor out = like(vectors);
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "edge_geometry_first", [&] {
    using T = scalar_t;
    const GeometryArrays<T> at{vectors.const_data_ptr<T>(), nullptr, data<T>(gY), data<T>(gf), data<T>(gr),
                               nullptr,                     nullptr, nullptr,     space<T>(out)};
    over_edges(e, vectors.size(0), [&](int64_t first, int64_t last) { kernels<T>().edge_geometry(e, first, last, at); });
  });
  return out;
}

// Of <along, first>: the gradients in the vectors (where wanted) and in the three slopes.
Four second_cpu(const Tensor& vectors_, const Tensor& along_, const Maybe& gY_, const Maybe& gf_, const Maybe& gr_,
                double cutoff, int64_t num_radial, int64_t lmax, const Tensor& index, const Tensor& coefficients, bool wanted) {
  const Tensor vectors = vectors_.contiguous(), along = along_.contiguous();
  check(vectors);
  const Maybe gY = contiguous(gY_), gf = contiguous(gf_), gr = contiguous(gr_);
  const EdgeGeometry e = geometry(cutoff, num_radial, lmax, index, coefficients);
  const int64_t edges = vectors.size(0);
  Tensor Y = vectors.new_empty({edges, e.components}), f = vectors.new_empty({edges, num_radial});
  Tensor r = vectors.new_empty({edges, num_radial}), out = room(vectors, wanted);
  AT_DISPATCH_FLOATING_TYPES(vectors.scalar_type(), "edge_geometry_second", [&] {
    using T = scalar_t;
    const GeometryArrays<T> at{vectors.const_data_ptr<T>(), along.const_data_ptr<T>(), data<T>(gY), data<T>(gf),
                               data<T>(gr),                 space<T>(Y),               space<T>(f), space<T>(r),
                               space<T>(out, wanted)};
    over_edges(e, edges, [&](int64_t first, int64_t last) { kernels<T>().edge_geometry_along(e, first, last, at); });
  });
  return {out, Y, f, r};
}

Tensor rows(const Tensor& vectors, c10::SymInt width) {
  return at::empty_symint({vectors.sym_size(0), std::move(width)}, vectors.options());
}

Three forward_meta(const Tensor& vectors, double, int64_t num_radial, int64_t lmax, const Tensor&, const Tensor&) {
  return {rows(vectors, (lmax + 1) * (lmax + 1)), rows(vectors, num_radial), rows(vectors, num_radial)};
}

Tensor first_meta(const Tensor& vectors, const Maybe&, const Maybe&, const Maybe&, double, int64_t, int64_t,
                  const Tensor&, const Tensor&) {
  return like(vectors);
}

Four second_meta(const Tensor& vectors, const Tensor&, const Maybe&, const Maybe&, const Maybe&, double,
                 int64_t num_radial, int64_t lmax, const Tensor&, const Tensor&, bool wanted) {
  return {room(vectors, wanted), rows(vectors, (lmax + 1) * (lmax + 1)), rows(vectors, num_radial),
          rows(vectors, num_radial)};
}

struct First : torch::autograd::Function<First> {
  static Tensor forward(AutogradContext* ctx, const Tensor& vectors, const Maybe& gY, const Maybe& gf, const Maybe& gr,
                        double cutoff, int64_t num_radial, int64_t lmax, const Tensor& index, const Tensor& coefficients) {
    static auto op = find<decltype(first_cpu)>("equitensor::edge_geometry_first");
    at::AutoDispatchBelowADInplaceOrView guard;
    auto tensor = [](const Maybe& x) { return x ? *x : Tensor(); };
    ctx->save_for_backward({vectors, tensor(gY), tensor(gf), tensor(gr), index, coefficients});
    ctx->saved_data["cutoff"] = cutoff;
    ctx->saved_data["num_radial"] = num_radial;
    ctx->saved_data["lmax"] = lmax;
    return op.call(vectors, gY, gf, gr, cutoff, num_radial, lmax, index, coefficients);
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    static auto op = find<decltype(second_cpu)>("equitensor::edge_geometry_second");
    const auto saved = ctx->get_saved_variables();
    const bool wanted = ctx->needs_input_grad(0);
    auto [dv, dY, df, dr] =
        op.call(saved[0], along[0], maybe(saved[1]), maybe(saved[2]), maybe(saved[3]),
                ctx->saved_data["cutoff"].toDouble(), ctx->saved_data["num_radial"].toInt(), ctx->saved_data["lmax"].toInt(), saved[4], saved[5], wanted);
    variable_list out(9);
    out[0] = given(dv, wanted);
    const Tensor slopes[3] = {dY, df, dr};
    for (int k = 0, input = 1; k < 3; k++)  // inputs that are no tensors are not counted
      if (saved[k + 1].defined()) out[k + 1] = given(slopes[k], ctx->needs_input_grad(input++));
    return out;
  }
};

Tensor first_autograd(const Tensor& vectors, const Maybe& gY, const Maybe& gf, const Maybe& gr, double cutoff,
                      int64_t num_radial, int64_t lmax, const Tensor& index, const Tensor& coefficients) {
  return First::apply(vectors, gY, gf, gr, cutoff, num_radial, lmax, index, coefficients);
}

struct Forward : torch::autograd::Function<Forward> {
  static variable_list forward(AutogradContext* ctx, const Tensor& vectors, double cutoff, int64_t num_radial,
                               int64_t lmax, const Tensor& index, const Tensor& coefficients) {
    static auto op = find<decltype(forward_cpu)>("equitensor::edge_geometry");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({vectors, index, coefficients});
    ctx->saved_data["cutoff"] = cutoff;
    ctx->saved_data["num_radial"] = num_radial;
    ctx->saved_data["lmax"] = lmax;
    ctx->set_materialize_grads(false);
    auto [Y, f, r] = op.call(vectors, cutoff, num_radial, lmax, index, coefficients);
    return {Y, f, r};
  }

  static variable_list backward(AutogradContext* ctx, variable_list g) {
    static auto op = find<decltype(first_cpu)>("equitensor::edge_geometry_first");
    const auto saved = ctx->get_saved_variables();
    variable_list out(6);
    if (ctx->needs_input_grad(0))
      out[0] = op.call(saved[0], maybe(g[0]), maybe(g[1]), maybe(g[2]), ctx->saved_data["cutoff"].toDouble(),
                       ctx->saved_data["num_radial"].toInt(), ctx->saved_data["lmax"].toInt(), saved[1], saved[2]);
    return out;
  }
};

Three forward_autograd(const Tensor& vectors, double cutoff, int64_t num_radial, int64_t lmax, const Tensor& index,
                       const Tensor& coefficients) {
  const auto out = Forward::apply(vectors, cutoff, num_radial, lmax, index, coefficients);
  return {out[0], out[1], out[2]};
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def(
      "edge_geometry(Tensor vectors, float cutoff, int num_radial, int lmax, Tensor index, Tensor coefficients)"
      " -> (Tensor, Tensor, Tensor)");
  m.def(
      "edge_geometry_first(Tensor vectors, Tensor? g_harmonics, Tensor? g_functions, Tensor? g_radial, float cutoff,"
      " int num_radial, int lmax, Tensor index, Tensor coefficients) -> Tensor");
  m.def(
      "edge_geometry_second(Tensor vectors, Tensor along, Tensor? g_harmonics, Tensor? g_functions, Tensor? g_radial,"
      " float cutoff, int num_radial, int lmax, Tensor index, Tensor coefficients, bool wanted)"
      " -> (Tensor, Tensor, Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("edge_geometry", forward_cpu);
  m.impl("edge_geometry_first", first_cpu);
  m.impl("edge_geometry_second", second_cpu);
}
TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("edge_geometry", forward_meta);
  m.impl("edge_geometry_first", first_meta);
  m.impl("edge_geometry_second", second_meta);
}
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("edge_geometry", forward_autograd);
  m.impl("edge_geometry_first", first_autograd);
}

}  // namespace edge_geometry
}  // namespace equitensor
