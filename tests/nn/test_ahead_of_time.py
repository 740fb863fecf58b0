"""Networks of our layers in packages of AOTInductor: the same values, for any number of nodes and edges."""

import shutil

import pytest
import torch

from equitensor.nn import Convolution, Interaction

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # torch's own
]
IRREPS = "8x0e+8x1o"


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = Convolution(IRREPS, "0e+1o", IRREPS)
        self.radial = torch.nn.Linear(4, self.convolution.weight_numel)
        self.square = Interaction(self.convolution.irreps_out[0:1] + self.convolution.irreps_out[-1:], IRREPS, IRREPS)

    def forward(self, x, edge_attr, edge_features, edge_index):
        z = self.convolution(x, edge_attr, self.radial(edge_features), edge_index)
        first, last = self.convolution.irreps_out.slices()[0], self.convolution.irreps_out.slices()[-1]
        return self.square(torch.cat([z[:, first], z[:, last]], dim=1), x)


def operands(nodes, edges):
    return torch.randn(nodes, 32), torch.randn(edges, 4), torch.randn(edges, 4), torch.randint(nodes, (2, edges))


def test_a_package_gives_the_numbers_of_the_network(tmp_path):
    torch.manual_seed(0)
    network = Network().eval().requires_grad_(False)
    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    shapes = ({0: nodes}, {0: edges}, {0: edges}, {1: edges})
    program = torch.export.export(network, operands(5, 12), dynamic_shapes=shapes)
    path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "network.pt2"))
    package = torch._inductor.aoti_load_package(path)
    for counts in ((5, 12), (9, 40)):
        arguments = operands(*counts)
        torch.testing.assert_close(package(*arguments), network(*arguments))
