// Polynomials of each atom's features with coefficients by element and channel: see equitensor/ops/many_body.py.

namespace equitensor {
namespace many_body {

using Two = std::tuple<Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

// What is no operand: the element of each atom, and the polynomials (o3/polynomial_terms.py).
struct Form {
  const Tensor& element;
  const Maybe& reduction;
  const Tensor &basis, &table;
  at::IntArrayRef sizes;
};

enum Size { COMPONENTS, OUTPUTS, PRODUCTS, ROWS, MONOMIALS, ENTRIES, WEIGHTS, SIZES };

void check_like(const char* name, const Tensor& given, at::IntArrayRef shape, const Tensor& x) {
  TORCH_CHECK(given.sizes() == shape && given.scalar_type() == x.scalar_type(), "many_body: ", name, " is ",
              given.scalar_type(), " ", given.sizes(), ", expected ", x.scalar_type(), " ", shape);
}

void check(const Tensor& x, const Tensor& weight, const Form& form) {
  TORCH_CHECK(form.sizes.size() == SIZES, "many_body: ", form.sizes.size(), " sizes, expected ", int(SIZES));
  TORCH_CHECK(x.dim() == 3 && x.size(1) == form.sizes[COMPONENTS], "many_body: x has shape ", x.sizes(),
              ", expected (n, ", form.sizes[COMPONENTS], ", channels)");
  const int64_t paths = form.reduction ? form.reduction->size(0) : form.basis.size(0);
  TORCH_CHECK(weight.dim() == 3 && weight.size(1) == paths && weight.size(2) == x.size(2),
              "many_body: weight has shape ", weight.sizes(), ", expected (elements, ", paths, ", ", x.size(2), ")");
  TORCH_CHECK(x.scalar_type() == weight.scalar_type() && x.scalar_type() == form.basis.scalar_type(),
              "many_body: x is ", x.scalar_type(), ", weight ", weight.scalar_type(), ", basis ",
              form.basis.scalar_type());
  if (form.reduction) check_like("reduction", *form.reduction, {paths, form.basis.size(0)}, x);
  TORCH_CHECK(form.element.scalar_type() == at::kLong && form.element.dim() == 1 && form.element.size(0) == x.size(0),
              "many_body: element is ", form.element.scalar_type(), " ", form.element.sizes(), ", expected Long (",
              x.size(0), ")");
  const auto& sizes = form.sizes;
  const int64_t groups = sizes[ROWS] + sizes[MONOMIALS], entries = sizes[ENTRIES] + sizes[WEIGHTS];
  const int64_t length = 2 * sizes[PRODUCTS] + 3 * groups + 4 * entries;
  TORCH_CHECK(form.table.scalar_type() == at::kInt && form.table.is_contiguous() && form.table.numel() == length &&
                  form.basis.dim() == 2 && form.basis.is_contiguous(),
              "many_body: table is ", form.table.scalar_type(), " ", form.table.sizes(), ", expected contiguous Int (",
              length, ") and a contiguous basis");
}

// Reads the table from its start, and no number beyond its limit.
struct TableReader {
  const int32_t* next;

  const int32_t* take(int64_t count, int64_t limit) {
    const int32_t* part = next;
    for (int64_t i = 0; i < count; i++)
      TORCH_CHECK(0 <= part[i] && part[i] < limit, "many_body: the table holds ", part[i], " where ", limit,
                  " is the limit");
    next += count;
    return part;
  }
  // Rising to `last`.
  const int32_t* take_ends(int64_t count, int64_t last) {
    const int32_t* part = take(count, last + 1);
    for (int64_t i = 1; i < count; i++) TORCH_CHECK(part[i - 1] <= part[i], "many_body: the table's ends must rise");
    TORCH_CHECK(count ? part[count - 1] == last : last == 0, "many_body: the table's ends must reach ", last);
    return part;
  }
};

template <class T>
PolynomialOrder<T> read_order(TableReader& table, const Form& form, int64_t groups, int64_t outer, int64_t inner) {
  const int64_t entries = form.sizes[ENTRIES], weights = form.sizes[WEIGHTS], size = form.basis.size(1);
  PolynomialOrder<T> order;
  order.groups = groups;
  order.outer = table.take(groups, outer), order.factor = table.take(groups, form.sizes[COMPONENTS]);
  order.end = table.take_ends(groups, entries), order.inner = table.take(entries, inner);
  const int32_t *stop = table.take_ends(entries, weights), *path = table.take(weights, form.basis.size(0));
  const int32_t* position = table.take(weights, size);
  const T* basis = form.basis.const_data_ptr<T>();
  order.weights = {{stop, stop + entries}, {path, path + weights}, std::vector<T>(weights)};
  for (int64_t n = 0; n < weights; n++) order.weights.factor[n] = basis[path[n] * size + position[n]];
  return order;
}

// The columns of a matrix with many zeros.
template <class T>
SparseSums<T> columns(const Tensor& matrix) {
  const auto value = matrix.accessor<T, 2>();
  SparseSums<T> sums;
  for (int64_t k = 0; k < matrix.size(1); k++) {
    for (int64_t p = 0; p < matrix.size(0); p++)
      if (value[p][k] != 0) sums.from.push_back(p), sums.factor.push_back(value[p][k]);
    sums.stop.push_back(sums.from.size());
  }
  return sums;
}

// Atoms sorted by element, those of one element in their order.
template <class T>
void sort_atoms(const Tensor& element_, int64_t elements, ManyBody<T>& p) {
  const Tensor element = element_.contiguous();
  const int64_t* of = element.const_data_ptr<int64_t>();
  const int64_t atoms = element.numel();
  p.start.assign(elements + 1, 0);
  for (int64_t i = 0; i < atoms; i++) {
    TORCH_CHECK(0 <= of[i] && of[i] < elements, "many_body: element ", of[i], " is beyond the ", elements,
                " elements of weight");
    p.start[of[i] + 1]++;
  }
  for (int64_t e = 0; e < elements; e++) {
    if (p.start[e + 1]) p.present.push_back(e);
    p.start[e + 1] += p.start[e];
  }
  std::vector<int64_t> next(p.start.begin(), p.start.end() - 1);
  p.order.resize(atoms);
  for (int64_t i = 0; i < atoms; i++) p.order[next[of[i]]++] = i;
}

template <class T>
ManyBody<T> polynomials(const Tensor& weight, const Form& form) {
  const auto& sizes = form.sizes;
  ManyBody<T> p{};
  p.components = sizes[COMPONENTS], p.outputs = sizes[OUTPUTS], p.products = sizes[PRODUCTS];
  p.entries = sizes[ENTRIES], p.given = weight.size(1), p.paths = form.basis.size(0), p.channels = weight.size(2);
  if (form.reduction) p.reduction = columns<T>(*form.reduction);
  const int64_t nodes = p.components + 1 + p.products;
  TableReader table{form.table.const_data_ptr<int32_t>()};
  p.left = table.take(p.products, nodes), p.right = table.take(p.products, p.components);
  for (int64_t q = 0; q < p.products; q++)
    TORCH_CHECK(p.left[q] < p.components + 1 + q, "many_body: a product needs a later one");
  p.rows = read_order<T>(table, form, sizes[ROWS], p.outputs, nodes);
  p.monomials = read_order<T>(table, form, sizes[MONOMIALS], nodes, p.outputs);
  sort_atoms(form.element, weight.size(0), p);
  return p;
}

template <class T>
Strided<const T> source(const Maybe& x) {
  if (!x) return {};
  return {x->const_data_ptr<T>(), x->stride(0), x->stride(1), x->stride(2)};
}
template <class T>
Strided<T> target(const Tensor& x, bool wanted) {
  if (!wanted) return {};
  return {x.mutable_data_ptr<T>(), x.stride(0), x.stride(1), x.stride(2)};
}

Tensor output(const Tensor& x, at::IntArrayRef sizes) {
  return at::empty_symint({x.sym_size(0), sizes[OUTPUTS], x.sym_size(2)}, x.options());
}

// Elements in blocks of channels share nothing that is written, so that threads change no sum.
template <class T, class F>
void over_tasks(const ManyBody<T>& p, int64_t passes, const F& body) {
  const int64_t width = kernels<T>().padded(1), blocks = (p.channels + width - 1) / width, elements = p.present.size();
  if (!elements) return;
  const int64_t each = passes * width * (p.rows.weights.from.size() + p.entries * p.order.size() / elements);
  at::parallel_for(0, blocks * elements, items_per_task(each), body);
}

Tensor forward_cpu(const Tensor& x, const Tensor& weight_, const Tensor& element, const Maybe& reduction,
                   const Tensor& basis, const Tensor& table, at::IntArrayRef sizes) {
  const Tensor weight = weight_.contiguous();
  const Form form{element, reduction, basis, table, sizes};
  check(x, weight, form);
  const Tensor out = output(x, sizes);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "many_body", [&] {
    using T = scalar_t;
    const auto p = polynomials<T>(weight, form);
    ManyBodyArrays<T> at{};
    at.x = source<T>(x), at.weight = weight.const_data_ptr<T>(), at.out = target<T>(out, true);
    over_tasks(p, 1, [&](int64_t first, int64_t last) { kernels<T>().many_body(p, first, last, at); });
  });
  return out;
}

// Gradients in x and weight, or with tangents their derivatives along them and that of the output.
Three gradient(const Tensor& x, const Tensor& weight_, const Tensor& g, const Maybe& along_x,
               const Maybe& along_weight_, bool tangents, const Form& form, std::array<bool, 3> wanted) {
  const Tensor weight = weight_.contiguous();
  const Maybe along_weight = contiguous(along_weight_);
  check(x, weight, form);
  check_like("g", g, {x.size(0), form.sizes[OUTPUTS], x.size(2)}, x);
  if (along_x) check_like("along_x", *along_x, x.sizes(), x);
  if (along_weight) check_like("along_weight", *along_weight, weight.sizes(), x);
  Tensor dx = wanted[0] ? at::empty_like(x) : x.new_empty({0});
  Tensor dg = wanted[2] ? output(x, form.sizes) : x.new_empty({0});
  Tensor dweight = wanted[1] ? at::zeros_like(weight) : x.new_empty({0});
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "many_body_gradient", [&] {
    using T = scalar_t;
    const auto p = polynomials<T>(weight, form);
    const ManyBodyArrays<T> at{source<T>(x),
                               source<T>(along_x),
                               source<T>(g),
                               weight.const_data_ptr<T>(),
                               data<T>(along_weight),
                               target<T>(dg, wanted[2]),
                               target<T>(dx, wanted[0]),
                               space<T>(dweight, wanted[1])};
    const auto kernel = tangents ? kernels<T>().many_body_along : kernels<T>().many_body;
    over_tasks(p, tangents ? 6 : 3, [&](int64_t first, int64_t last) { kernel(p, first, last, at); });
  });
  return {dx, dweight, dg};
}

Two first_cpu(const Tensor& x, const Tensor& weight, const Tensor& g, const Tensor& element, const Maybe& reduction,
              const Tensor& basis,
              const Tensor& table, at::IntArrayRef sizes, std::array<bool, 2> wanted) {
  const Form form{element, reduction, basis, table, sizes};
  auto [dx, dweight, dg] =
      gradient(x, weight, g, std::nullopt, std::nullopt, false, form, {wanted[0], wanted[1], false});
  return {dx, dweight};
}

Three second_cpu(const Tensor& x, const Tensor& weight, const Tensor& g, const Maybe& along_x,
                 const Maybe& along_weight, const Tensor& element, const Maybe& reduction, const Tensor& basis,
                 const Tensor& table,
                 at::IntArrayRef sizes, std::array<bool, 3> wanted) {
  return gradient(x, weight, g, along_x, along_weight, true, {element, reduction, basis, table, sizes}, wanted);
}

Tensor forward_meta(const Tensor& x, const Tensor&, const Tensor&, const Maybe&, const Tensor&, const Tensor&,
                    at::IntArrayRef sizes) {
  return output(x, sizes);
}

Two first_meta(const Tensor& x, const Tensor& weight, const Tensor&, const Tensor&, const Maybe&, const Tensor&,
               const Tensor&, at::IntArrayRef, std::array<bool, 2> wanted) {
  return {wanted[0] ? at::empty_like(x) : x.new_empty({0}), room(weight, wanted[1])};
}

Three second_meta(const Tensor& x, const Tensor& weight, const Tensor&, const Maybe&, const Maybe&, const Tensor&,
                  const Maybe&, const Tensor&, const Tensor&, at::IntArrayRef sizes, std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty_like(x) : x.new_empty({0}), room(weight, wanted[1]),
          wanted[2] ? output(x, sizes) : x.new_empty({0})};
}

struct First : torch::autograd::Function<First> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& g,
                               const Tensor& element, const Maybe& reduction, const Tensor& basis,
                               const Tensor& table, at::IntArrayRef sizes, std::array<bool, 2> wanted) {
    static auto op = find<decltype(first_cpu)>("equitensor::many_body_first");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, g, element, reduction.value_or(Tensor()), basis, table});
    ctx->saved_data["sizes"] = sizes.vec();
    ctx->set_materialize_grads(false);
    auto [dx, dweight] = op.call(x, weight, g, element, reduction, basis, table, sizes, wanted);
    return {dx, dweight};
  }

  static variable_list backward(AutogradContext* ctx, variable_list along) {
    static auto op = find<decltype(second_cpu)>("equitensor::many_body_second");
    const auto saved = ctx->get_saved_variables();
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    variable_list out(9);
    if (!along[0].defined() && !along[1].defined()) return out;
    const std::array<bool, 3> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1), ctx->needs_input_grad(2)};
    auto [dx, dweight, dg] = op.call(saved[0], saved[1], saved[2], maybe(along[0]), maybe(along[1]), saved[3],
                                     maybe(saved[4]), saved[5], saved[6], sizes, wanted);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    out[2] = given(dg, wanted[2]);
    return out;
  }
};

struct Forward : torch::autograd::Function<Forward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight, const Tensor& element,
                        const Maybe& reduction, const Tensor& basis, const Tensor& table, at::IntArrayRef sizes) {
    static auto op = find<decltype(forward_cpu)>("equitensor::many_body");
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight, element, reduction.value_or(Tensor()), basis, table});
    ctx->saved_data["sizes"] = sizes.vec();
    return op.call(x, weight, element, reduction, basis, table, sizes);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grad) {
    static auto op = find<decltype(first_cpu)>("equitensor::many_body_first");
    const auto saved = ctx->get_saved_variables();
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    const std::array<bool, 2> wanted{ctx->needs_input_grad(0), ctx->needs_input_grad(1)};
    auto [dx, dweight] =
        op.call(saved[0], saved[1], grad[0], saved[2], maybe(saved[3]), saved[4], saved[5], sizes, wanted);
    variable_list out(7);
    out[0] = given(dx, wanted[0]);
    out[1] = given(dweight, wanted[1]);
    return out;
  }
};

Tensor forward_autograd(const Tensor& x, const Tensor& weight, const Tensor& element, const Maybe& reduction,
                        const Tensor& basis, const Tensor& table, at::IntArrayRef sizes) {
  return Forward::apply(x, weight, element, reduction, basis, table, sizes);
}

Two first_autograd(const Tensor& x, const Tensor& weight, const Tensor& g, const Tensor& element,
                   const Maybe& reduction, const Tensor& basis, const Tensor& table, at::IntArrayRef sizes,
                   std::array<bool, 2> wanted) {
  const auto out = First::apply(x, weight, g, element, reduction, basis, table, sizes, wanted);
  return {out[0], out[1]};
}

TORCH_LIBRARY_FRAGMENT(equitensor, m) {
  m.def(
      "many_body(Tensor x, Tensor weight, Tensor element, Tensor? reduction, Tensor basis, Tensor table, int[] sizes)"
      " -> Tensor");
  m.def(
      "many_body_first(Tensor x, Tensor weight, Tensor g, Tensor element, Tensor? reduction, Tensor basis,"
      " Tensor table, int[] sizes, bool[2] wanted) -> (Tensor, Tensor)");
  m.def(
      "many_body_second(Tensor x, Tensor weight, Tensor g, Tensor? along_x, Tensor? along_weight, Tensor element,"
      " Tensor? reduction, Tensor basis, Tensor table, int[] sizes, bool[3] wanted) -> (Tensor, Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(equitensor, CPU, m) {
  m.impl("many_body", forward_cpu);
  m.impl("many_body_first", first_cpu);
  m.impl("many_body_second", second_cpu);
}
TORCH_LIBRARY_IMPL(equitensor, Meta, m) {
  m.impl("many_body", forward_meta);
  m.impl("many_body_first", first_meta);
  m.impl("many_body_second", second_meta);
}
TORCH_LIBRARY_IMPL(equitensor, Autograd, m) {
  m.impl("many_body", forward_autograd);
  m.impl("many_body_first", first_autograd);
}

}  // namespace many_body
}  // namespace equitensor
