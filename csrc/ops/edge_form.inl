// F = sum Y_ijm a_ijc b_ijc G_imc over the slots j of atoms i, as differentiable operators: see equitensor/ops/edge_form.py.

namespace equitensor {
namespace edge_form {

using Mask = std::array<bool, 4>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

void check(const Tensor& harmonics, const Tensor& rows, const Maybe& features, const Maybe& rev) {
  TORCH_CHECK(harmonics.dim() == 3, "edge_form: harmonics has shape ", harmonics.sizes(), ", expected (n, width, d)");
  TORCH_CHECK(rows.dim() == 2 && rows.size(0) == harmonics.size(0) * harmonics.size(1), "edge_form: an array of rows ",
              "has shape ", rows.sizes(), ", expected (", harmonics.size(0) * harmonics.size(1), ", channels)");
  TORCH_CHECK(rows.scalar_type() == harmonics.scalar_type(), "edge_form: rows are ", rows.scalar_type(),
              ", harmonics ", harmonics.scalar_type());
  if (features)
    TORCH_CHECK(features->dim() == 3 && features->size(0) == harmonics.size(0) &&
                    features->size(1) == harmonics.size(2) && features->size(2) == rows.size(1),
                "edge_form: features has shape ", features->sizes(), ", expected (n, d, channels)");
  if (rev)
    TORCH_CHECK(rev->scalar_type() == at::kLong && rev->numel() == rows.size(0), "edge_form: rev has ", rev->numel(),
                " ", rev->scalar_type(), " entries, expected ", rows.size(0), " Long");
}

template <class T>
EdgeForm<T> form(const Tensor& harmonics, const Tensor& rows, const Maybe& rev) {
  return {harmonics.size(1), harmonics.size(2), rows.size(1), harmonics.const_data_ptr<T>(),
          rev ? rev->const_data_ptr<int64_t>() : nullptr};
}

template <class F>
void over_atoms(const Tensor& harmonics, int64_t channels, const F& body) {
  at::parallel_for(0, harmonics.size(0), items_per_task(harmonics.size(1) * harmonics.size(2) * channels), body);
}

Tensor gather_cpu(const Tensor& harmonics_, const Tensor& a_, const Tensor& b_) {
  const Tensor harmonics = harmonics_.contiguous(), a = a_.contiguous(), b = b_.contiguous();
  check(harmonics, a, std::nullopt, std::nullopt);
  check(harmonics, b, std::nullopt, std::nullopt);
  Tensor sum = harmonics.new_empty({harmonics.size(0), harmonics.size(2), a.size(1)});
  AT_DISPATCH_FLOATING_TYPES(harmonics.scalar_type(), "edge_gather", [&] {
    const auto f = form<scalar_t>(harmonics, a, std::nullopt);
    over_atoms(harmonics, a.size(1), [&](int64_t first, int64_t last) {
      kernels<scalar_t>().edge_gather(f, first, last, a.const_data_ptr<scalar_t>(), b.const_data_ptr<scalar_t>(),
                                      sum.mutable_data_ptr<scalar_t>());
    });
  });
  return sum;
}

Tensor read_cpu(const Tensor& harmonics_, const Tensor& features_, const Tensor& factor_, const Tensor& rev_) {
  const Tensor harmonics = harmonics_.contiguous(), features = features_.contiguous(), factor = factor_.contiguous();
  const Tensor rev = rev_.contiguous();
  check(harmonics, factor, features, rev);
  Tensor out = at::empty_like(factor);
  AT_DISPATCH_FLOATING_TYPES(harmonics.scalar_type(), "edge_read", [&] {
    const auto f = form<scalar_t>(harmonics, factor, rev);
    over_atoms(harmonics, factor.size(1), [&](int64_t first, int64_t last) {
      kernels<scalar_t>().edge_read(f, first, last, factor.const_data_ptr<scalar_t>(),
                                    features.const_data_ptr<scalar_t>(), out.mutable_data_ptr<scalar_t>());
    });
  });
  return out;
}

// The wanted parts of the gradient of F, or of its derivative along a tangent; parts not wanted have no elements.
Four gradient(const Tensor& harmonics_, const Tensor& a_, const Tensor& b_, const Tensor& features_, const Maybe& rev_,
              const std::array<Maybe, 4>* tangent_, const Mask& wanted) {
  const Tensor harmonics = harmonics_.contiguous(), a = a_.contiguous(), b = b_.contiguous();
  const Tensor features = features_.contiguous();
  const Maybe rev = contiguous(rev_);
  check(harmonics, a, features, rev);
  check(harmonics, b, features, rev);
  std::array<Maybe, 4> tangent;
  for (int k = 0; tangent_ && k < 4; k++) tangent[k] = contiguous((*tangent_)[k]);
  const std::array<Tensor, 4> at{harmonics, a, b, features};
  std::array<Tensor, 4> out;
  for (int k = 0; k < 4; k++) out[k] = room(at[k], wanted[k]);
  AT_DISPATCH_FLOATING_TYPES(harmonics.scalar_type(), "edge_gradient", [&] {
    using T = scalar_t;
    const auto f = form<T>(harmonics, a, rev);
    const EdgeArrays<const T> point{data<T>(harmonics), data<T>(a), data<T>(b), data<T>(features)};
    const EdgeArrays<const T> along{data<T>(tangent[0]), data<T>(tangent[1]), data<T>(tangent[2]),
                                    data<T>(tangent[3])};
    const EdgeArrays<T> into{space<T>(out[0], wanted[0]), space<T>(out[1], wanted[1]), space<T>(out[2], wanted[2]),
                             space<T>(out[3], wanted[3])};
    over_atoms(harmonics, a.size(1), [&](int64_t first, int64_t last) {
      kernels<T>().edge_gradient(f, first, last, point, tangent_ ? &along : nullptr, into);
    });
  });
  return {out[0], out[1], out[2], out[3]};
}

Four first_cpu(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Maybe& rev,
               Mask wanted) {
  return gradient(harmonics, a, b, features, rev, nullptr, wanted);
}

Four second_cpu(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Maybe& rev,
                const Maybe& along_harmonics, const Maybe& along_a, const Maybe& along_b, const Maybe& along_features,
                Mask wanted) {
  const std::array<Maybe, 4> tangent{along_harmonics, along_a, along_b, along_features};
  return gradient(harmonics, a, b, features, rev, &tangent, wanted);
}

Tensor gather_meta(const Tensor& harmonics, const Tensor& a, const Tensor& b) {
  return at::empty_symint({harmonics.sym_size(0), harmonics.sym_size(2), a.sym_size(1)}, harmonics.options());
}

Tensor read_meta(const Tensor& harmonics, const Tensor& features, const Tensor& factor, const Tensor& rev) {
  return like(factor);
}

Four meta(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Mask& wanted) {
  return {room(harmonics, wanted[0]), room(a, wanted[1]), room(b, wanted[2]), room(features, wanted[3])};
}

Four first_meta(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Maybe& rev,
                Mask wanted) {
  return meta(harmonics, a, b, features, wanted);
}

Four second_meta(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Maybe& rev,
                 const Maybe&, const Maybe&, const Maybe&, const Maybe&, Mask wanted) {
  return meta(harmonics, a, b, features, wanted);
}

auto call_first(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features, const Maybe& rev,
                Mask wanted) {
  static auto op = find<decltype(first_cpu)>("equitensor::edge_first");
  return op.call(harmonics, a, b, features, rev, wanted);
}

std::array<Tensor, 4> parts(const Four& found, const Mask& wanted) {
  const auto& [dY, da, db, dG] = found;
  return {given(dY, wanted[0]), given(da, wanted[1]), given(db, wanted[2]), given(dG, wanted[3])};
}

// The gradient of F is differentiable once more; its own gradient is not.
struct First : torch::autograd::Function<First> {
  static variable_list forward(AutogradContext* ctx, const Tensor& harmonics, const Tensor& a, const Tensor& b,
                               const Tensor& features, const Maybe& rev, Mask wanted) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({harmonics, a, b, features, rev ? *rev : Tensor()});
    ctx->set_materialize_grads(false);
    auto [dY, da, db, dG] = call_first(harmonics, a, b, features, rev, wanted);
    return {dY, da, db, dG};
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    const auto saved = ctx->get_saved_variables();
    Mask wanted;
    for (int k = 0; k < 4; k++) wanted[k] = ctx->needs_input_grad(k);
    static auto op = find<decltype(second_cpu)>("equitensor::edge_second");
    const auto out = parts(op.call(saved[0], saved[1], saved[2], saved[3], maybe(saved[4]), maybe(along[0]),
                                            maybe(along[1]), maybe(along[2]), maybe(along[3]), wanted),
                           wanted);
    return {out[0], out[1], out[2], out[3], Tensor(), Tensor()};
  }
};

struct Gather : torch::autograd::Function<Gather> {
  static Tensor forward(AutogradContext* ctx, const Tensor& harmonics, const Tensor& a, const Tensor& b) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({harmonics, a, b});
    static auto op = find<decltype(gather_cpu)>("equitensor::edge_gather");
    return op.call(harmonics, a, b);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    const auto saved = ctx->get_saved_variables();
    const Mask wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2), false};
    const auto out = parts(call_first(saved[0], saved[1], saved[2], grad[0], std::nullopt, wanted), wanted);
    return {out[0], out[1], out[2]};
  }
};

struct Read : torch::autograd::Function<Read> {
  static Tensor forward(AutogradContext* ctx, const Tensor& harmonics, const Tensor& features, const Tensor& factor,
                        const Tensor& rev) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({harmonics, features, factor, rev});
    static auto op = find<decltype(read_cpu)>("equitensor::edge_read");
    return op.call(harmonics, features, factor, rev);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    const auto saved = ctx->get_saved_variables();
    const Mask wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(2), false, ctx->needs_input_grad(1)};
    const auto out = parts(call_first(saved[0], saved[2], grad[0], saved[1], saved[3], wanted), wanted);
    return {out[0], out[3], out[1], Tensor()};
  }
};

Tensor gather_autograd(const Tensor& harmonics, const Tensor& a, const Tensor& b) {
  return Gather::apply(harmonics, a, b);
}

Tensor read_autograd(const Tensor& harmonics, const Tensor& features, const Tensor& factor, const Tensor& rev) {
  return Read::apply(harmonics, features, factor, rev);
}

Four first_autograd(const Tensor& harmonics, const Tensor& a, const Tensor& b, const Tensor& features,
                    const Maybe& rev, Mask wanted) {
  const auto out = First::apply(harmonics, a, b, features, rev, wanted);
  return {out[0], out[1], out[2], out[3]};
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def("edge_gather(Tensor harmonics, Tensor a, Tensor b) -> Tensor");
  m.def("edge_read(Tensor harmonics, Tensor features, Tensor factor, Tensor rev) -> Tensor");
  m.def(
      "edge_first(Tensor harmonics, Tensor a, Tensor b, Tensor features, Tensor? rev, bool[4] wanted)"
      " -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "edge_second(Tensor harmonics, Tensor a, Tensor b, Tensor features, Tensor? rev, Tensor? along_harmonics,"
      " Tensor? along_a, Tensor? along_b, Tensor? along_features, bool[4] wanted)"
      " -> (Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("edge_gather", gather_cpu);
  m.impl("edge_read", read_cpu);
  m.impl("edge_first", first_cpu);
  m.impl("edge_second", second_cpu);
}

TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("edge_gather", gather_meta);
  m.impl("edge_read", read_meta);
  m.impl("edge_first", first_meta);
  m.impl("edge_second", second_meta);
}

TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("edge_gather", gather_autograd);
  m.impl("edge_read", read_autograd);
  m.impl("edge_first", first_autograd);
}

}  // namespace edge_form
}  // namespace equitensor
