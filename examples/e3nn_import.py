"""An e3nn network with only the import of its products changed: the same weights give the same values.

python examples/e3nn_import.py
"""

import torch
from e3nn import o3
from e3nn.nn import Gate

from equitensor.interfaces import e3nn as equitensor_products

EDGE = "0e + 1o + 2e"


class Network(torch.nn.Module):
    """One message-passing layer and a read-out, as in e3nn's tutorials; `products` is the only difference."""

    def __init__(self, products) -> None:
        super().__init__()
        self.gate = Gate("16x0e", [torch.nn.functional.silu], "16x0e", [torch.sigmoid], "8x1o + 8x2e")
        self.product = products.FullyConnectedTensorProduct("8x0e", EDGE, self.gate.irreps_in, shared_weights=False)
        self.radial = torch.nn.Linear(8, self.product.weight_numel)
        self.square = products.TensorSquare(self.gate.irreps_out, "4x0e + 1o")

    def forward(self, x, pos, edge_index):
        sender, receiver = edge_index
        vectors = pos[receiver] - pos[sender]
        harmonics = o3.spherical_harmonics(EDGE, vectors, normalize=True, normalization="component")
        waves = torch.sin(vectors.norm(dim=1, keepdim=True) * torch.arange(1, 9, dtype=pos.dtype))
        messages = self.product(x[sender], harmonics, self.radial(waves))
        nodes = x.new_zeros(len(x), messages.shape[1]).index_add(0, receiver, messages)
        return self.square(self.gate(nodes)).sum(0)


def main() -> None:
    torch.manual_seed(0)
    theirs, ours = Network(o3), Network(equitensor_products)
    print(ours.load_state_dict(theirs.state_dict()))
    x, pos = torch.randn(10, 8), torch.randn(10, 3, requires_grad=True)
    edge_index = (~torch.eye(10, dtype=torch.bool)).nonzero().T
    results = []
    for name, network in (("e3nn", theirs), ("equitensor", ours)):
        out = network(x, pos, edge_index)
        (forces,) = torch.autograd.grad(-out[0], pos)
        results.append((out.detach(), forces))
        print(f"{name:10} scalar {out[0].item():+.5f}, force on the first node {forces[0].numpy().round(4)}")
    for what, a, b in zip(("outputs", "forces"), *results, strict=True):
        print(f"{what} differ by {float((a - b).abs().max() / b.abs().max()):.1e} of the largest (float32)")


if __name__ == "__main__":
    main()
