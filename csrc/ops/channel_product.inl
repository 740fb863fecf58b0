// z_k = sum of c x_i y_j over a sparse tensor, channel by channel: see equitensor/ops/channel_product.py.

namespace equitensor {
namespace channel_product {

void check(const Tensor& x, const Tensor& y, at::IntArrayRef sizes, int64_t slot) {
  const int64_t dx = sizes[OPERANDS[slot][0]], dy = sizes[OPERANDS[slot][1]];
  TORCH_CHECK(x.dim() == 3 && x.size(1) == dx, "channel_product: x has shape ", x.sizes(), ", expected (n, ", dx,
              ", channels)");
  TORCH_CHECK(y.dim() == 3 && y.size(1) == dy && y.size(0) == x.size(0) && y.size(2) == x.size(2),
              "channel_product: y has shape ", y.sizes(), ", expected (", x.size(0), ", ", dy, ", ", x.size(2), ")");
  TORCH_CHECK(x.scalar_type() == y.scalar_type(), "channel_product: x is ", x.scalar_type(), ", y ", y.scalar_type());
}

Tensor product_cpu(const Tensor& x_, const Tensor& y_, const Tensor& index, const Tensor& coefficients,
                   at::IntArrayRef sizes, int64_t slot) {
  check(x_, y_, sizes, slot);
  const Tensor x = x_.contiguous(), y = y_.contiguous();
  Tensor z = x.new_empty({x.size(0), sizes[slot], x.size(2)});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "channel_product", [&] {
    const auto made = plan<scalar_t>(index, coefficients, sizes, slot);
    at::parallel_for(0, x.size(0), items_per_task(index.size(2) * x.size(2)), [&](int64_t first, int64_t last) {
      kernels<scalar_t>().channel_product(made, first, last, x.size(2), x.const_data_ptr<scalar_t>(),
                                          y.const_data_ptr<scalar_t>(), z.mutable_data_ptr<scalar_t>());
    });
  });
  return z;
}

Tensor product_meta(const Tensor& x, const Tensor& y, const Tensor& index, const Tensor& coefficients,
                    at::IntArrayRef sizes, int64_t slot) {
  return at::empty_symint({x.sym_size(0), sizes[slot], x.sym_size(2)}, x.options());
}

Tensor call(const Tensor& x, const Tensor& y, const Tensor& index, const Tensor& coefficients, at::IntArrayRef sizes,
            int64_t slot) {
  static auto op = find<decltype(product_cpu)>("equitensor::channel_product");
  return op.call(x, y, index, coefficients, sizes, slot);
}

// The derivative in either operand is the same product into that operand's slot.
struct Product : torch::autograd::Function<Product> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& y, const Tensor& index,
                        const Tensor& coefficients, at::IntArrayRef sizes, int64_t slot) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, y, index, coefficients});
    ctx->saved_data["sizes"] = sizes.vec();
    ctx->saved_data["slot"] = slot;
    return call(x, y, index, coefficients, sizes, slot);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    const auto saved = ctx->get_saved_variables();
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    const int64_t slot = ctx->saved_data["slot"].toInt();
    const Tensor* known[3];
    known[slot] = &grad[0];
    known[OPERANDS[slot][0]] = &saved[0];
    known[OPERANDS[slot][1]] = &saved[1];
    variable_list out(6);
    for (int k = 0; k < 2; k++) {
      const int to = OPERANDS[slot][k];
      if (ctx->needs_input_grad(k))
        out[k] = call(*known[OPERANDS[to][0]], *known[OPERANDS[to][1]], saved[2], saved[3], sizes, to);
    }
    return out;
  }
};

Tensor product_autograd(const Tensor& x, const Tensor& y, const Tensor& index, const Tensor& coefficients,
                        at::IntArrayRef sizes, int64_t slot) {
  return Product::apply(x, y, index, coefficients, sizes, slot);
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def("channel_product(Tensor x, Tensor y, Tensor index, Tensor coefficients, int[] sizes, int slot) -> Tensor");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) { m.impl("channel_product", product_cpu); }
TORCH_LIBRARY_IMPL(equitensor, Meta, m) { m.impl("channel_product", product_meta); }
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) { m.impl("channel_product", product_autograd); }

}  // namespace channel_product
}  // namespace equitensor
