"""Ours in the place of cuEquivariance's products of two features; what all layers share is in cuequivariance_layers.py.

TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

from typing import Any

import torch
from torch import Tensor

from equitensor.interfaces.cuequivariance_layers import Layer, Unstored, shapes, transposed
from equitensor.interfaces.cuequivariance_polynomial import Polynomial, instruction
from equitensor.interfaces.e3nn import convolution, species_product, tensor_product


class UnstoredProduct(Unstored, tensor_product.TensorProduct):
    """`TensorProduct` inside a layer."""


class UnstoredSpeciesProduct(Unstored, species_product.SpeciesProduct):
    """`SpeciesProduct` inside a layer."""


class UnstoredConvolution(Unstored, convolution.Convolution):
    """`Convolution` inside a layer."""


class Product(Layer):
    """Base of the products of two features."""

    _shapes: list[list[tuple[int, int]]]

    def _note(self, theirs: Any) -> None:
        super()._note(theirs)
        self._shapes = [
            shapes(self.irreps_in1, theirs.transpose_in1.source.name, "mul_ir"),
            shapes(self.irreps_in2, theirs.transpose_in2.source.name, "mul_ir"),
            shapes(self.irreps_out, "mul_ir", theirs.transpose_out.target.name),
        ]

    def _make(self, cls: type[tensor_product.TensorProduct]) -> None:
        """The product of e3nn's with this class; its factors hold the signs."""
        irreps, items = (self.irreps_in1, self.irreps_in2, self.irreps_out), []
        for (_, *slots), constant in sorted(self._polynomial.paths(0), key=lambda path: path[0][0]):
            items.append(instruction(slots, constant, irreps, self._mode(self.irreps_in2[slots[1]].mul)))
        product, plain = cls.__new__(cls), [tuple(item)[:5] for item in items]
        shared = self.shared_weights
        tensor_product.TensorProduct.__init__(product, *irreps, plain, internal_weights=False, shared_weights=shared)
        product.instructions, product._signs = items, dict.fromkeys(product._signs, 1)
        product._plan()
        self.product = product.to(self._like)

    def _mode(self, copies: int) -> str:
        """Of a path whose second operand has so many copies."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.product).replace(type(self.product).__name__, type(self).__name__, 1)


class FullyConnectedTensorProduct(Product):
    """Ours for cuEquivariance's layer of that name.

    Args:
        of_species: x2 says the element of each atom, one-hot.
    """

    def __init__(self, theirs: Any, polynomial: Polynomial, like: Tensor, of_species: bool = False) -> None:
        self._of_species = of_species
        super().__init__(theirs, polynomial, like)

    def _plan(self) -> None:
        scalars = all(ir.l == 0 for _, ir in self.irreps_in2)
        self._make(UnstoredSpeciesProduct if self._of_species and scalars else UnstoredProduct)

    def _mode(self, copies: int) -> str:
        return "uvw"

    def forward(self, x1: Tensor, x2: Tensor, weight: Tensor | None = None) -> Tensor:
        """(n, irreps_in1.dim) and (n, irreps_in2.dim) -> (n, irreps_out.dim), each in its layout."""
        if weight is None:
            weight = self.weight
        assert weight is not None, "FullyConnectedTensorProduct without weights of its own: give them in the call"
        if self.shared_weights:
            weight = weight.reshape(-1)
        x, y = transposed(x1, self._shapes[0]), transposed(x2, self._shapes[1])
        return transposed(self.product(x, y, weight), self._shapes[2])


class ChannelWise(Product):
    """Base of the products copy by copy."""

    def _plan(self) -> None:
        self._make(UnstoredConvolution)

    def _mode(self, copies: int) -> str:
        return "uvu" if copies == 1 else "uvuv"

    def _each(self, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        weight = weight.reshape(-1) if self.shared_weights else weight
        return transposed(self.product._evaluate(x, y, weight), self._shapes[2])

    def _convolve(self, x: Tensor, y: Tensor, weight: Tensor, sender: Tensor, receiver: Tensor) -> Tensor:
        edges = sender.shape[0]
        weight = weight.reshape(-1) if self.shared_weights else weight.expand(edges, -1)
        z = self.product._convolve(x, y.expand(edges, -1), weight, sender.long(), receiver.long())
        return transposed(z, self._shapes[2])


class ChannelWiseTensorProduct(ChannelWise):
    """Ours for cuEquivariance's layer of that name; with indices of both sides it is one operation."""

    def forward(
        self,
        x1: Tensor,
        x2: Tensor,
        weight: Tensor | None = None,
        indices_1: Tensor | None = None,
        indices_2: Tensor | None = None,
        indices_out: Tensor | None = None,
        size_out: int | None = None,
    ) -> Tensor:
        """(n, irreps_out.dim): gathered from x1, x2 and added up in size_out rows where there are indices."""
        if weight is None:
            weight = self.weight
        assert weight is not None, "ChannelWiseTensorProduct without weights of its own: give them in the call"
        x, y = transposed(x1, self._shapes[0]), transposed(x2, self._shapes[1])
        if indices_2 is not None:
            y = y.index_select(0, indices_2)
        if indices_out is None:
            return self._each(x if indices_1 is None else x.index_select(0, indices_1), y, weight)
        assert size_out is not None, "ChannelWiseTensorProduct: give size_out with indices_out"
        if indices_1 is not None and size_out == x.shape[0]:
            return self._convolve(x, y, weight, indices_1, indices_out)
        z = self._each(x if indices_1 is None else x.index_select(0, indices_1), y, weight)
        rows = torch.zeros([size_out, z.shape[1]], dtype=z.dtype, device=z.device)
        return rows.index_add(0, indices_out, z.expand(indices_out.shape[0], -1))


class Convolution(ChannelWise):
    """`ChannelWiseTensorProduct` between the gather and the sum of an interaction block of MACE's."""

    def forward(self, x: Tensor, y: Tensor, weight: Tensor, edge_index: Tensor) -> Tensor:
        """(nodes, irreps_in1.dim), (edges, irreps_in2.dim), (edges, weight_numel) -> (nodes, irreps_out.dim)."""
        x, y = transposed(x, self._shapes[0]), transposed(y, self._shapes[1])
        return self._convolve(x, y, weight, edge_index[0], edge_index[1])
