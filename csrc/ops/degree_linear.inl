// One matrix per degree on the channels of features: see equitensor/ops/degree_linear.py.

namespace equitensor {
namespace degree_linear {

void check(const Tensor& x, const Tensor& weight, bool turned) {
  TORCH_CHECK(weight.dim() == 3, "degree_linear: weight has shape ", weight.sizes(), ", expected (L+1, in, out)");
  TORCH_CHECK(x.dim() == 3 && x.size(1) == weight.size(0) * weight.size(0) && x.size(2) == weight.size(turned ? 2 : 1),
              "degree_linear: x has shape ", x.sizes(), ", expected (n, ", weight.size(0) * weight.size(0), ", ",
              weight.size(turned ? 2 : 1), ")");
  TORCH_CHECK(x.scalar_type() == weight.scalar_type(), "degree_linear: x is ", x.scalar_type(), ", weight ",
              weight.scalar_type());
}

// x W_l, or x W_l^T
Tensor linear_cpu(const Tensor& x_, const Tensor& weight_, bool turned) {
  const Tensor x = x_.contiguous(), weight = weight_.contiguous();
  check(x, weight, turned);
  const int64_t degrees = weight.size(0), in = weight.size(1), out = weight.size(2);
  Tensor y = x.new_empty({x.size(0), x.size(1), turned ? in : out});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "degree_linear", [&] {
    at::parallel_for(0, x.size(0), items_per_task(x.size(1) * in * out), [&](int64_t first, int64_t last) {
      kernels<scalar_t>().degree_linear(first, last, degrees, in, out, x.const_data_ptr<scalar_t>(),
                                        weight.const_data_ptr<scalar_t>(), turned, space<scalar_t>(y));
    });
  });
  return y;
}

// sum_i x_i g_i^T of each degree
Tensor outer_cpu(const Tensor& x_, const Tensor& g_, int64_t degrees) {
  const Tensor x = x_.contiguous(), g = g_.contiguous();
  TORCH_CHECK(x.dim() == 3 && g.dim() == 3 && x.size(0) == g.size(0) && x.size(1) == degrees * degrees &&
                  g.size(1) == x.size(1),
              "degree_outer: x and g have shapes ", x.sizes(), " and ", g.sizes(), ", expected (n, ",
              degrees * degrees, ", channels)");
  const int64_t in = x.size(2), out = g.size(2);
  Tensor total = x.new_zeros({degrees, in, out});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "degree_outer", [&] {
    add_in_order(x.size(0), x.size(1) * in * out, {total}, [&](int64_t first, int64_t last, const auto& sums) {
      kernels<scalar_t>().degree_outer(first, last, degrees, in, out, x.const_data_ptr<scalar_t>(),
                                       g.const_data_ptr<scalar_t>(), space<scalar_t>(sums[0]));
    });
  });
  return total;
}

Tensor linear_meta(const Tensor& x, const Tensor& weight, bool turned) {
  return at::empty_symint({x.sym_size(0), x.sym_size(1), weight.sym_size(turned ? 1 : 2)}, x.options());
}

Tensor outer_meta(const Tensor& x, const Tensor& g, int64_t degrees) {
  return at::empty_symint({degrees, x.sym_size(2), g.sym_size(2)}, x.options());
}

Tensor linear(const Tensor& x, const Tensor& weight, bool turned) {
  static auto op = find<decltype(linear_cpu)>("equitensor::degree_linear");
  return op.call(x, weight, turned);
}

Tensor outer(const Tensor& x, const Tensor& g, int64_t degrees) {
  static auto op = find<decltype(outer_cpu)>("equitensor::degree_outer");
  return op.call(x, g, degrees);
}

// Each is linear in both arguments, and each derivative is the other or itself.
struct Linear : torch::autograd::Function<Linear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, bool turned) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight});
    ctx->saved_data["turned"] = turned;
    return linear(x, weight, turned);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    const auto saved = ctx->get_saved_variables();
    const bool turned = ctx->saved_data["turned"].toBool();
    const int64_t degrees = saved[1].size(0);
    variable_list out(3);
    if (ctx->needs_input_grad(0)) out[0] = linear(grad[0], saved[1], !turned);
    if (ctx->needs_input_grad(1))
      out[1] = turned ? outer(grad[0], saved[0], degrees) : outer(saved[0], grad[0], degrees);
    return out;
  }
};

struct Outer : torch::autograd::Function<Outer> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& g, int64_t degrees) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, g});
    return outer(x, g, degrees);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    const auto saved = ctx->get_saved_variables();
    variable_list out(3);
    if (ctx->needs_input_grad(0)) out[0] = linear(saved[1], grad[0], true);
    if (ctx->needs_input_grad(1)) out[1] = linear(saved[0], grad[0], false);
    return out;
  }
};

Tensor linear_autograd(const Tensor& x, const Tensor& weight, bool turned) { return Linear::apply(x, weight, turned); }
Tensor outer_autograd(const Tensor& x, const Tensor& g, int64_t degrees) { return Outer::apply(x, g, degrees); }

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def("degree_linear(Tensor x, Tensor weight, bool turned) -> Tensor");
  m.def("degree_outer(Tensor x, Tensor g, int degrees) -> Tensor");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("degree_linear", linear_cpu);
  m.impl("degree_outer", outer_cpu);
}
TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("degree_linear", linear_meta);
  m.impl("degree_outer", outer_meta);
}
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("degree_linear", linear_autograd);
  m.impl("degree_outer", outer_autograd);
}

}  // namespace degree_linear
}  // namespace equitensor
