"""`Convolution`: a tensor product of e3nn's with the gather before it and the sum behind it, in one operation.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import torch
from torch import Tensor

from equitensor.interfaces.e3nn.forms import convolution_tables
from equitensor.interfaces.e3nn.tensor_product import TensorProduct
from equitensor.ops import uvu_convolution  # noqa: F401  registers the operator that TorchScript calls


class Convolution(TensorProduct):
    """z_i = sum over edges j -> i of w_ij (x_j (x) y_ij): arguments, attributes and state dict of `TensorProduct`.

    With weights of their own for every edge, mode "uvu" and y of multiplicity one, nothing of the size of the edges
    is kept but their weights; any other product is taken edge by edge.
    """

    def _plan(self) -> None:
        super()._plan()
        self._fused = self._form == "uvu"
        irreps = (self.irreps_in1, self.irreps_in2, self.irreps_out)
        plan, table = convolution_tables(self._active() if self._fused else [], self._couplings(), irreps)
        self.add_table("edge_coupling", table)
        self.add_table("edge_plan", plan)

    # It takes the edges as well. TorchScript wants nothing behind the comment of the next line.
    def forward(self, x: Tensor, y: Tensor, weight: Tensor, edge_index: Tensor) -> Tensor:  # type: ignore[override]
        """(nodes, irreps_in1.dim), (edges, irreps_in2.dim), (edges, weight_numel): (nodes, irreps_out.dim).

        edge_index (2, edges): sender j and receiver i.
        """
        return self._convolve(x, y, weight, edge_index[0], edge_index[1])

    def _convolve(self, x: Tensor, y: Tensor, weight: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        if not self._fused:
            z = self._evaluate(x.index_select(0, sender), y, weight)
            return torch.zeros([x.shape[0], self._out_dim], dtype=z.dtype, device=z.device).index_add(0, receiver, z)
        self._check_width("x", x, self._in1_dim)
        self._check_width("y", y, self._in2_dim)
        weight = self._get_weights(weight)
        if not torch.jit.is_scripting():
            self._check_dtypes(x, y, weight)
        dtype = self.edge_coupling.dtype  # under autocast an operand may have another
        x, y, weight = x.to(dtype), y.to(dtype), weight.to(dtype)
        return torch.ops.equitensor.uvu_convolution(
            x, y, weight, sender, receiver, self.edge_coupling, self.edge_plan, self._out_dim
        )
