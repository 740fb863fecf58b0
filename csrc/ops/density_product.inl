// Weighted powers of atomic densities, as features or invariants: see equitensor/ops/density_product.py.

namespace equitensor {
namespace density_product {

using Pair = std::tuple<Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

// The tensor of the product, its sizes, and what is made of the powers.
struct Form {
  const Tensor &species, &index, &coefficients;
  bool invariants, symmetric;
};

void check(const Tensor& x, const Tensor& weight, const Form& form) {
  TORCH_CHECK(x.dim() == 3, "density_product: x has shape ", x.sizes(), ", expected (n, d, channels)");
  TORCH_CHECK(weight.dim() == 4 && weight.size(3) == x.size(2), "density_product: weight has shape ", weight.sizes(),
              ", expected (elements, order, degrees, ", x.size(2), ")");
  TORCH_CHECK(form.invariants ? weight.size(2) == 1 : weight.size(2) * weight.size(2) == x.size(1),
              "density_product: weight has ", weight.size(2), " degrees for ", x.size(1), " components");
  TORCH_CHECK(weight.scalar_type() == x.scalar_type(), "density_product: x is ", x.scalar_type(), ", weight ",
              weight.scalar_type());
  TORCH_CHECK(form.species.scalar_type() == at::kLong && form.species.numel() == x.size(0),
              "density_product: species must be ", x.size(0), " Long numbers");
  if (x.size(0))
    TORCH_CHECK(form.species.min().item<int64_t>() >= 0 && form.species.max().item<int64_t>() < weight.size(0),
                "density_product: a species is beyond the ", weight.size(0), " elements of weight");
}

template <class T>
DensityProduct<T> product(const Tensor& x, const Tensor& weight, const Form& form) {
  const int64_t D = x.size(1);
  const std::array<int64_t, 3> sizes{D, D, D};
  DensityProduct<T> d{D, x.size(2), weight.size(1), weight.size(2), form.invariants, form.symmetric, {}, {}, nullptr};
  for (int slot = 0; slot < 3; slot++) d.plans[slot] = plan<T>(form.index, form.coefficients, sizes, slot);
  for (int64_t l = 0; l * l < D; l++) d.degree.insert(d.degree.end(), 2 * l + 1, l);
  d.species = form.species.const_data_ptr<int64_t>();
  return d;
}

template <class T, class F>
void over_atoms(const DensityProduct<T>& d, int64_t atoms, const F& body) {
  const int64_t operations = d.plans[2].entries.size() * d.channels * d.order;
  at::parallel_for(0, atoms, items_per_task(operations), body);
}

Tensor forward_cpu(const Tensor& x_, const Tensor& weight_, const Tensor& species, const Tensor& index,
                   const Tensor& coefficients, bool invariants, bool symmetric) {
  const Tensor x = x_.contiguous(), weight = weight_.contiguous();
  const Form form{species, index, coefficients, invariants, symmetric};
  check(x, weight, form);
  Tensor out = x.new_empty({x.size(0), invariants ? 1 : x.size(1), x.size(2)});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "density_product", [&] {
    using T = scalar_t;
    const auto d = product<T>(x, weight, form);
    const DensityArrays<T> at{x.const_data_ptr<T>(), weight.const_data_ptr<T>(), nullptr, nullptr, nullptr,
                              space<T>(out),         nullptr,                    nullptr};
    over_atoms(d, x.size(0), [&](int64_t first, int64_t last) { kernels<T>().density_product(d, first, last, at); });
  });
  return out;
}

// Gradients in x and weight, or with tangents their derivatives along them and that of the output.
Three gradient(const Tensor& x_, const Tensor& weight_, const Tensor& g_, const Maybe& along_x_,
               const Maybe& along_weight_, bool along, const Form& form, std::array<bool, 3> wanted) {
  const Tensor x = x_.contiguous(), weight = weight_.contiguous(), g = g_.contiguous();
  const Maybe along_x = contiguous(along_x_), along_weight = contiguous(along_weight_);
  check(x, weight, form);
  Tensor dx = room(x, wanted[0]), dg = room(g, wanted[2]);
  Tensor dweight = wanted[1] ? at::zeros_like(weight) : weight.new_empty({0});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "density_product_gradient", [&] {
    using T = scalar_t;
    const auto d = product<T>(x, weight, form);
    std::mutex adding;
    over_atoms(d, x.size(0), [&](int64_t first, int64_t last) {
      // Each task sums the gradient of the weights on its own, unless it is the only one.
      const bool alone = first == 0 && last == x.size(0);
      const Tensor own = wanted[1] && !alone ? at::zeros_like(weight) : dweight;
      const DensityArrays<T> at{x.const_data_ptr<T>(),     weight.const_data_ptr<T>(), g.const_data_ptr<T>(),
                                data<T>(along_x),          data<T>(along_weight),      space<T>(dg, wanted[2]),
                                space<T>(dx, wanted[0]),   space<T>(own, wanted[1])};
      if (along)
        kernels<T>().density_product_along(d, first, last, at);
      else
        kernels<T>().density_product(d, first, last, at);
      if (wanted[1] && !alone) {
        const std::lock_guard<std::mutex> lock(adding);
        T* sum = dweight.mutable_data_ptr<T>();
        const T* part = own.const_data_ptr<T>();
        for (int64_t k = 0; k < dweight.numel(); k++) sum[k] += part[k];
      }
    });
  });
  return {dx, dweight, dg};
}

Pair first_cpu(const Tensor& x, const Tensor& weight, const Tensor& g, const Tensor& species, const Tensor& index,
               const Tensor& coefficients, bool invariants, bool symmetric, std::array<bool, 2> wanted) {
  const Form form{species, index, coefficients, invariants, symmetric};
  auto [dx, dweight, dg] = gradient(x, weight, g, {}, {}, false, form, {wanted[0], wanted[1], false});
  return {dx, dweight};
}

Three second_cpu(const Tensor& x, const Tensor& weight, const Tensor& g, const Maybe& along_x,
                 const Maybe& along_weight, const Tensor& species, const Tensor& index, const Tensor& coefficients,
                 bool invariants, bool symmetric, std::array<bool, 3> wanted) {
  const Form form{species, index, coefficients, invariants, symmetric};
  return gradient(x, weight, g, along_x, along_weight, true, form, wanted);
}

Tensor forward_meta(const Tensor& x, const Tensor&, const Tensor&, const Tensor&, const Tensor&, bool invariants, bool) {
  return at::empty_symint({x.sym_size(0), invariants ? c10::SymInt(1) : x.sym_size(1), x.sym_size(2)}, x.options());
}

Pair first_meta(const Tensor& x, const Tensor& weight, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                bool, bool, std::array<bool, 2> wanted) {
  return {room(x, wanted[0]), room(weight, wanted[1])};
}

Three second_meta(const Tensor& x, const Tensor& weight, const Tensor& g, const Maybe&, const Maybe&, const Tensor&,
                  const Tensor&, const Tensor&, bool, bool, std::array<bool, 3> wanted) {
  return {room(x, wanted[0]), room(weight, wanted[1]), room(g, wanted[2])};
}

struct First : torch::autograd::Function<First> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& g,
                               const Tensor& species, const Tensor& index, const Tensor& coefficients,
                               bool invariants, bool symmetric, std::array<bool, 2> wanted) {
    static auto op = find<decltype(first_cpu)>("equitensor::density_first");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, g, species, index, coefficients});
    ctx->saved_data["invariants"] = invariants;
    ctx->saved_data["symmetric"] = symmetric;
    ctx->set_materialize_grads(false);
    auto [dx, dweight] = op.call(x, weight, g, species, index, coefficients, invariants, symmetric, wanted);
    return {dx, dweight};
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    static auto op = find<decltype(second_cpu)>("equitensor::density_second");
    const auto saved = ctx->get_saved_variables();
    const bool invariants = ctx->saved_data["invariants"].toBool(), symmetric = ctx->saved_data["symmetric"].toBool();
    const std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2)};
    auto [dx, dweight, dg] = op.call(saved[0], saved[1], saved[2], maybe(along[0]), maybe(along[1]), saved[3],
                                     saved[4], saved[5], invariants, symmetric, wanted);
    variable_list out(9);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    out[2] = given(dg, wanted[2]);
    return out;
  }
};

struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& species,
                        const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric) {
    static auto op = find<decltype(forward_cpu)>("equitensor::density_product");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, species, index, coefficients});
    ctx->saved_data["invariants"] = invariants;
    ctx->saved_data["symmetric"] = symmetric;
    return op.call(x, weight, species, index, coefficients, invariants, symmetric);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    static auto op = find<decltype(first_cpu)>("equitensor::density_first");
    const auto saved = ctx->get_saved_variables();
    const bool invariants = ctx->saved_data["invariants"].toBool(), symmetric = ctx->saved_data["symmetric"].toBool();
    const std::array<bool, 2> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    auto [dx, dweight] =
        op.call(saved[0], saved[1], grad[0], saved[2], saved[3], saved[4], invariants, symmetric, wanted);
    variable_list out(7);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    return out;
  }
};

Tensor forward_autograd(const Tensor& x, const Tensor& weight, const Tensor& species, const Tensor& index,
                        const Tensor& coefficients, bool invariants, bool symmetric) {
  return Forward::apply(x, weight, species, index, coefficients, invariants, symmetric);
}

Pair first_autograd(const Tensor& x, const Tensor& weight, const Tensor& g, const Tensor& species,
                    const Tensor& index, const Tensor& coefficients, bool invariants, bool symmetric,
                    std::array<bool, 2> wanted) {
  const auto out = First::apply(x, weight, g, species, index, coefficients, invariants, symmetric, wanted);
  return {out[0], out[1]};
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def(
      "density_product(Tensor x, Tensor weight, Tensor species, Tensor index, Tensor coefficients, bool invariants,"
      " bool symmetric) -> Tensor");
  m.def(
      "density_first(Tensor x, Tensor weight, Tensor g, Tensor species, Tensor index, Tensor coefficients,"
      " bool invariants, bool symmetric, bool[2] wanted) -> (Tensor, Tensor)");
  m.def(
      "density_second(Tensor x, Tensor weight, Tensor g, Tensor? along_x, Tensor? along_weight, Tensor species,"
      " Tensor index, Tensor coefficients, bool invariants, bool symmetric, bool[3] wanted)"
      " -> (Tensor, Tensor, Tensor)");
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
