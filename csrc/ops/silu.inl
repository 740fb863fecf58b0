// silu with fused first and second derivatives: torch's second derivative is a dozen passes over memory.

namespace equitensor {
namespace silu {

constexpr int64_t NUMBERS_PER_TASK = 1 << 15;

Tensor silu_cpu(const Tensor& x_) {
  const Tensor x = x_.contiguous();
  Tensor y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "silu", [&] {
    at::parallel_for(0, x.numel(), NUMBERS_PER_TASK, [&](int64_t i, int64_t end) {
      kernels<scalar_t>().silu(end - i, x.const_data_ptr<scalar_t>() + i, y.mutable_data_ptr<scalar_t>() + i);
    });
  });
  return y;
}

Tensor backward_cpu(const Tensor& x_, const Tensor& g_) {
  const Tensor x = x_.contiguous(), g = g_.contiguous();
  Tensor y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "silu_backward", [&] {
    at::parallel_for(0, x.numel(), NUMBERS_PER_TASK, [&](int64_t i, int64_t end) {
      kernels<scalar_t>().silu_backward(end - i, x.const_data_ptr<scalar_t>() + i, g.const_data_ptr<scalar_t>() + i,
                                        y.mutable_data_ptr<scalar_t>() + i);
    });
  });
  return y;
}

std::tuple<Tensor, Tensor> second_cpu(const Tensor& x_, const Tensor& g_, const Tensor& h_) {
  const Tensor x = x_.contiguous(), g = g_.contiguous(), h = h_.contiguous();
  Tensor by_g = at::empty_like(x), by_x = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "silu_second", [&] {
    at::parallel_for(0, x.numel(), NUMBERS_PER_TASK, [&](int64_t i, int64_t end) {
      kernels<scalar_t>().silu_second(end - i, x.const_data_ptr<scalar_t>() + i, g.const_data_ptr<scalar_t>() + i,
                                      h.const_data_ptr<scalar_t>() + i, by_g.mutable_data_ptr<scalar_t>() + i,
                                      by_x.mutable_data_ptr<scalar_t>() + i);
    });
  });
  return {by_g, by_x};
}

Tensor silu_meta(const Tensor& x) { return like(x); }
Tensor backward_meta(const Tensor& x, const Tensor& g) { return like(x); }
std::tuple<Tensor, Tensor> second_meta(const Tensor& x, const Tensor& g, const Tensor& h) { return {like(x), like(x)}; }

struct Backward : torch::autograd::Function<Backward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& g) {
    static auto op = find<decltype(backward_cpu)>("equitensor::silu_backward");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, g});
    return op.call(x, g);
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    static auto op = find<decltype(second_cpu)>("equitensor::silu_second");
    const auto saved = ctx->get_saved_variables();
    auto [by_g, by_x] = op.call(saved[0], saved[1], along[0]);
    return {by_x, by_g};
  }
};

struct Silu : torch::autograd::Function<Silu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x) {
    static auto op = find<decltype(silu_cpu)>("equitensor::silu");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x});
    return op.call(x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    static auto op = find<decltype(backward_cpu)>("equitensor::silu_backward");
    return {op.call(ctx->get_saved_variables()[0], grad[0])};
  }
};

Tensor silu_autograd(const Tensor& x) { return Silu::apply(x); }
Tensor backward_autograd(const Tensor& x, const Tensor& g) { return Backward::apply(x, g); }

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def("silu(Tensor x) -> Tensor");
  m.def("silu_backward(Tensor x, Tensor g) -> Tensor");
  m.def("silu_second(Tensor x, Tensor g, Tensor h) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("silu", silu_cpu);
  m.impl("silu_backward", backward_cpu);
  m.impl("silu_second", second_cpu);
}
TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("silu", silu_meta);
  m.impl("silu_backward", backward_meta);
  m.impl("silu_second", second_meta);
}
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("silu", silu_autograd);
  m.impl("silu_backward", backward_autograd);
}

}  // namespace silu
}  // namespace equitensor
