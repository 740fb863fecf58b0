"""Random operands of the compiled operators, layers made of these, and their derivatives."""

import torch

from equitensor.nn.density_product import DensityProduct
from equitensor.nn.message_passing import AtomicDensity, EdgeUpdate
from equitensor.nn.natural_coupling import natural_coupling
from equitensor.o3.coupling_tensor import coupling_tensor
from equitensor.o3.irreps import as_irreps
from equitensor.ops.edge_embedding import edge_embedding


def values(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).requires_grad_(True)


def involution(size):
    order, rev = torch.randperm(size), torch.arange(size)
    one, other = order[: size // 2], order[size // 2 : 2 * (size // 2)]
    rev[one], rev[other] = other, one
    return rev


def ragged(atoms, slots):
    """Where the slots of each atom begin, of which the first has none."""
    cuts = torch.randint(slots + 1, (max(0, atoms - 2),)).sort().values
    return torch.cat([torch.zeros(min(2, atoms), dtype=torch.int64), cuts, torch.tensor([slots])])


def harmonics_of(atoms, width, lmax, even, dtype=torch.float64):
    """Of `width` slots for each atom, or of as many in all but unevenly shared out; and where those of each begin."""
    harmonics = values(atoms, width, (lmax + 1) ** 2, dtype=dtype)
    if even:
        return harmonics, None
    return harmonics.detach().flatten(0, 1).requires_grad_(True), ragged(atoms, atoms * width)


def derivatives(function, inputs, seeds):
    """Values, first derivatives with a random gradient of the output, and those of their random combination."""
    output = function()
    outputs = list(output) if isinstance(output, tuple) else [output]
    value = sum((out * seeds(0, k, out)).sum() for k, out in enumerate(outputs))
    first = torch.autograd.grad(value, inputs, create_graph=True)
    value = sum((out * seeds(1, k, out)).sum() for k, out in enumerate(first))
    second = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
    return [*outputs, *first, *second]


def even_coupling(lmax):
    irs = [ir for _, ir in as_irreps("+".join(f"{l}{'eo'[l % 2]}" for l in range(lmax + 1)))]
    return coupling_tensor(irs, irs, irs, False)


def layer(operator, dtype):
    """A function, the data and the weights that it is of."""
    if operator == "edge_embedding":
        inputs, indices = embedding(5, 3, 7, dtype)
        return lambda: edge_embedding(*inputs, *indices), inputs[:1], inputs[1:]
    (harmonics, start), messages = harmonics_of(5, 3, 2, False, dtype), values(15, 5, dtype=dtype)
    radial = values(15, 4, dtype=dtype)
    if operator == "edge_update":
        update, features, rev = EdgeUpdate(2, 6, 5, 4, 1.0).to(dtype), values(5, 9, 6, dtype=dtype), involution(15)
        data = (messages, features, radial, harmonics)
        return lambda: update(*data, rev, start), data, list(update.parameters())
    product, density = DensityProduct(2, 2, 6, 3, "cg").to(dtype), AtomicDensity(2, 6, 5, 4, 3.0, 9, 1.0).to(dtype)
    data, species = (messages, radial, harmonics), torch.arange(5) % 2
    weights = [*product.parameters(), *density.parameters()]
    return lambda: product.of_messages(density, *data, species, start), data, weights


def density_operands(atoms=2):
    """Operands of message_density at lmax 1."""
    tensor = natural_coupling(1, "cg")
    paths = int(tensor.indices[0, 3].max()) + 1
    data = (values(3 * atoms, 6), values(3 * atoms, 4), values(3 * atoms, 4))
    weights = (values(6, 5), values(4, 5), values(2, 5, 3), values(2, 3, 2, 3), values(paths, 3))
    constants = (torch.arange(atoms) % 2, ragged(atoms, 3 * atoms), *tensor[:2], False, tensor.symmetric)
    return (*data, *weights, *constants)


def update_operands():
    data = (values(6, 5), values(2, 4, 3), values(6, 4), values(6, 4))
    weights = (values(4, 5), values(2, 3, 5), values(5, 5), values(3, 5), values(5), values(5, 5))
    return (*data, *weights, involution(6), ragged(2, 6))


def embedding(atoms, width, channels, dtype=torch.float64):
    """Operands of edge_embedding and its indices."""
    shapes = ((atoms * width, 4), (4, channels), (2, channels), (2, channels), (channels,), (channels, channels))
    sender, receiver = torch.randint(max(1, atoms), (2, atoms * width))
    return tuple(values(*shape, dtype=dtype) for shape in shapes), (torch.arange(atoms) % 2, sender, receiver)
