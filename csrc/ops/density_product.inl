// Weighted powers of atomic densities, as features or invariants: see equitensor/ops/density_product.py.

namespace equitensor {
namespace density_product {

using Three = std::tuple<Tensor, Tensor, Tensor>;
using Four = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// The tensor of the product, and what is made of the powers.
struct Form {
  const Tensor &species, &index, &coefficients;
  bool invariants, symmetric;
};

void check(const Tensor& x, const Tensor& weight, const Maybe& mix, const Form& form) {
  TORCH_CHECK(x.dim() == 3, "density_product: x has shape ", x.sizes(), ", expected (n, d, channels)");
  TORCH_CHECK(weight.dim() == 4 && weight.size(3) == x.size(2), "density_product: weight has shape ", weight.sizes(),
              ", expected (elements, order, degrees, ", x.size(2), ")");
  TORCH_CHECK(form.invariants ? weight.size(2) == 1 : weight.size(2) * weight.size(2) == x.size(1),
              "density_product: weight has ", weight.size(2), " degrees for ", x.size(1), " components");
  TORCH_CHECK(weight.scalar_type() == x.scalar_type() && (!mix || mix->scalar_type() == x.scalar_type()),
              "density_product: x is ", x.scalar_type(), ", the weights are not");
  TORCH_CHECK(!mix || (mix->dim() == 2 && mix->size(1) == x.size(2)), "density_product: mix must have shape (paths, ",
              x.size(2), ")");
  TORCH_CHECK(form.species.scalar_type() == at::kLong && form.species.numel() == x.size(0) &&
                  form.species.is_contiguous(),
              "density_product: species must be ", x.size(0), " contiguous Long numbers");
  const int64_t* species = form.species.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < x.size(0); i++)
    TORCH_CHECK(0 <= species[i] && species[i] < weight.size(0), "density_product: species ", species[i],
                " is beyond the ", weight.size(0), " elements of weight");
}

template <class T>
DensityProduct<T> product(const Tensor& x, const Tensor& weight, const Maybe& mix, const Form& form) {
  const int64_t D = x.size(1), paths = mix ? mix->size(0) : 0;
  const std::array<int64_t, 3> sizes{D, D, D};
  DensityProduct<T> d{D,     x.size(2),       weight.size(1), weight.size(2), paths, form.invariants,
                      form.symmetric, {}, {}, nullptr};
  for (int slot = 0; slot < 3; slot++) d.plans[slot] = plan<T>(form.index, form.coefficients, sizes, slot);
  for (const Group& group : d.plans[2].groups)
    TORCH_CHECK(!mix || group.path < paths, "density_product: mix has fewer than ", group.path + 1, " paths");
  for (int64_t l = 0; l * l < D; l++) d.degree.insert(d.degree.end(), 2 * l + 1, l);
  d.species = form.species.const_data_ptr<int64_t>();
  return d;
}

Tensor forward_cpu(const Tensor& x_, const Tensor& weight_, const Maybe& mix_, const Tensor& species,
                   const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric) {
  const Tensor x = x_.contiguous(), weight = weight_.contiguous();
  const Maybe mix = contiguous(mix_);
  const Form form{species, index, coefficients, invariants, symmetric};
  check(x, weight, mix, form);
  Tensor out = x.new_empty({x.size(0), invariants ? 1 : x.size(1), x.size(2)});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "density_product", [&] {
    using T = scalar_t;
    const auto d = product<T>(x, weight, mix, form);
    DensityArrays<T> at{};
    at.x = x.const_data_ptr<T>(), at.weight = weight.const_data_ptr<T>(), at.mix = data<T>(mix);
    at.out = space<T>(out);
    const int64_t operations = d.plans[2].entries.size() * d.channels * d.order;
    at::parallel_for(0, x.size(0), items_per_task(operations), [&](int64_t first, int64_t last) {
      kernels<T>().density_product(d, first, last, at);
    });
  });
  return out;
}

// Gradients in x, weight and mix, or with tangents their derivatives along them and that of the output.
Four gradient(const Tensor& x_, const Tensor& weight_, const Maybe& mix_, const Tensor& g_,
              const std::array<Maybe, 3>* along_, const Form& form, std::array<bool, 4> wanted) {
  const Tensor x = x_.contiguous(), weight = weight_.contiguous(), g = g_.contiguous();
  const Maybe mix = contiguous(mix_);
  check(x, weight, mix, form);
  std::array<Maybe, 3> along;
  for (int k = 0; along_ && k < 3; k++) along[k] = contiguous((*along_)[k]);
  wanted[2] = wanted[2] && mix;
  Tensor dx = room(x, wanted[0]), dg = room(g, wanted[3]);
  Tensor dweight = wanted[1] ? at::zeros_like(weight) : x.new_empty({0});
  Tensor dmix = wanted[2] ? at::zeros_like(*mix) : x.new_empty({0});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "density_product_gradient", [&] {
    using T = scalar_t;
    const auto d = product<T>(x, weight, mix, form);
    const int64_t operations = d.plans[2].entries.size() * d.channels * d.order * 4;
    add_in_order(x.size(0), operations, {dweight, dmix}, [&](int64_t first, int64_t last, const auto& sums) {
      const DensityArrays<T> at{x.const_data_ptr<T>(),
                                weight.const_data_ptr<T>(),
                                data<T>(mix),
                                g.const_data_ptr<T>(),
                                data<T>(along[0]),
                                data<T>(along[1]),
                                data<T>(along[2]),
                                space<T>(dg, wanted[3]),
                                space<T>(dx, wanted[0]),
                                space<T>(sums[0], wanted[1]),
                                space<T>(sums[1], wanted[2])};
      if (along_)
        kernels<T>().density_product_along(d, first, last, at);
      else
        kernels<T>().density_product(d, first, last, at);
    });
  });
  return {dx, dweight, dmix, dg};
}

Three first_cpu(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor& g, const Tensor& species,
                const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric,
                std::array<bool, 3> wanted) {
  const Form form{species, index, coefficients, invariants, symmetric};
  auto [dx, dweight, dmix, dg] =
      gradient(x, weight, mix, g, nullptr, form, {wanted[0], wanted[1], wanted[2], false});
  return {dx, dweight, dmix};
}

Four second_cpu(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor& g, const Maybe& along_x,
                const Maybe& along_weight, const Maybe& along_mix, const Tensor& species, const Tensor& index,
                const Tensor& coefficients, bool invariants, bool symmetric, std::array<bool, 4> wanted) {
  const Form form{species, index, coefficients, invariants, symmetric};
  const std::array<Maybe, 3> along{along_x, along_weight, along_mix};
  return gradient(x, weight, mix, g, &along, form, wanted);
}

Tensor forward_meta(const Tensor& x, const Tensor&, const Maybe&, const Tensor&, const Tensor&, const Tensor&,
                    bool invariants, bool) {
  return at::empty_symint({x.sym_size(0), invariants ? c10::SymInt(1) : x.sym_size(1), x.sym_size(2)}, x.options());
}

Three first_meta(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor&, const Tensor&, const Tensor&,
                 const Tensor&, bool, bool, std::array<bool, 3> wanted) {
  return {room(x, wanted[0]), room(weight, wanted[1]), room(mix ? *mix : x, wanted[2] && mix)};
}

Four second_meta(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor& g, const Maybe&, const Maybe&,
                 const Maybe&, const Tensor&, const Tensor&, const Tensor&, bool, bool, std::array<bool, 4> wanted) {
  return {room(x, wanted[0]), room(weight, wanted[1]), room(mix ? *mix : x, wanted[2] && mix), room(g, wanted[3])};
}

struct First : torch::autograd::Function<First> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Maybe& mix,
                               const Tensor& g, const Tensor& species, const Tensor& index,
                               const Tensor& coefficients, bool invariants, bool symmetric,
                               std::array<bool, 3> wanted) {
    static auto op = find<decltype(first_cpu)>("equitensor::density_first");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, mix ? *mix : Tensor(), g, species, index, coefficients});
    ctx->saved_data["invariants"] = invariants;
    ctx->saved_data["symmetric"] = symmetric;
    ctx->set_materialize_grads(false);
    auto [dx, dweight, dmix] = op.call(x, weight, mix, g, species, index, coefficients, invariants, symmetric, wanted);
    return {dx, dweight, dmix};
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    static auto op = find<decltype(second_cpu)>("equitensor::density_second");
    const auto saved = ctx->get_saved_variables();
    const bool mixed = saved[2].defined();
    // Inputs that are no tensors are not counted.
    const std::array<bool, 4> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                     mixed && ctx->needs_input_grad(2), ctx->needs_input_grad(mixed ? 3 : 2)};
    auto [dx, dweight, dmix, dg] =
        op.call(saved[0], saved[1], maybe(saved[2]), saved[3], maybe(along[0]), maybe(along[1]),
                mixed ? maybe(along[2]) : std::nullopt, saved[4], saved[5], saved[6],
                ctx->saved_data["invariants"].toBool(), ctx->saved_data["symmetric"].toBool(), wanted);
    variable_list out(10);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    out[2] = given(dmix, wanted[2]);
    out[3] = given(dg, wanted[3]);
    return out;
  }
};

struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Maybe& mix,
                        const Tensor& species, const Tensor& index, const Tensor& coefficients, bool invariants,
                        bool symmetric) {
    static auto op = find<decltype(forward_cpu)>("equitensor::density_product");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, mix ? *mix : Tensor(), species, index, coefficients});
    ctx->saved_data["invariants"] = invariants;
    ctx->saved_data["symmetric"] = symmetric;
    return op.call(x, weight, mix, species, index, coefficients, invariants, symmetric);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    static auto op = find<decltype(first_cpu)>("equitensor::density_first");
    const auto saved = ctx->get_saved_variables();
    const std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1),
                                     saved[2].defined() && ctx->needs_input_grad(2)};
    auto [dx, dweight, dmix] =
        op.call(saved[0], saved[1], maybe(saved[2]), grad[0], saved[3], saved[4], saved[5],
                ctx->saved_data["invariants"].toBool(), ctx->saved_data["symmetric"].toBool(), wanted);
    variable_list out(8);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    out[2] = given(dmix, wanted[2]);
    return out;
  }
};

Tensor forward_autograd(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor& species,
                        const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric) {
  return Forward::apply(x, weight, mix, species, index, coefficients, invariants, symmetric);
}

Three first_autograd(const Tensor& x, const Tensor& weight, const Maybe& mix, const Tensor& g, const Tensor& species,
                     const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric,
                     std::array<bool, 3> wanted) {
  const auto out = First::apply(x, weight, mix, g, species, index, coefficients, invariants, symmetric, wanted);
  return {out[0], out[1], out[2]};
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def(
      "density_product(Tensor x, Tensor weight, Tensor? mix, Tensor species, Tensor index, Tensor coefficients,"
      " bool invariants, bool symmetric) -> Tensor");
  m.def(
      "density_first(Tensor x, Tensor weight, Tensor? mix, Tensor g, Tensor species, Tensor index,"
      " Tensor coefficients, bool invariants, bool symmetric, bool[3] wanted) -> (Tensor, Tensor, Tensor)");
  m.def(
      "density_second(Tensor x, Tensor weight, Tensor? mix, Tensor g, Tensor? along_x, Tensor? along_weight,"
      " Tensor? along_mix, Tensor species, Tensor index, Tensor coefficients, bool invariants, bool symmetric,"
      " bool[4] wanted) -> (Tensor, Tensor, Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("density_product", forward_cpu);
  m.impl("density_first", first_cpu);
  m.impl("density_second", second_cpu);
}
TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("density_product", forward_meta);
  m.impl("density_first", first_meta);
  m.impl("density_second", second_meta);
}
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("density_product", forward_autograd);
  m.impl("density_first", first_autograd);
}

}  // namespace density_product
}  // namespace equitensor
