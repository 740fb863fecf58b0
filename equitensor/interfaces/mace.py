"""Drop-in for MACE's symmetric contraction: change the import, keep the model, its weights and its values.

Signature, state dict and values are those of `mace.modules.symmetric_contraction.SymmetricContraction`, signs those of
the e3nn that is installed, or of the coupling tensors in a state dict that is loaded. mace itself is not imported.
TorchScript reads the annotations, unquoted: no `from __future__ import annotations` here.
"""

import importlib.util
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from equitensor.errors import InputError
from equitensor.interfaces.e3nn.couplings import installed_sign
from equitensor.nn.layout import common_multiplicity
from equitensor.nn.many_body_coupling import ElementPolynomials
from equitensor.o3 import as_irreps
from equitensor.o3.irreps import IrrepsLike
from equitensor.o3.polynomial_blocks import PolynomialTerm
from equitensor.o3.symmetric_coupling import coupling_chains, distinct_monomials, sum_over_permutations

NORMALISATIONS = (("component", "norm", "none"), ("element", "path", "none"))
ROUNDING = 1e-6  # of the largest entry: what float32 may leave between a tensor and its copy
HIGHEST = 11  # of the degrees that MACE admits between four factors


class Contraction(nn.Module):
    """What the state dict holds for one irrep of the output: coupling tensors and weights.

    Args:
        couplings: by order from 1, U (2 l + 1, d, ..., d, paths), without its first axis for l = 0.
    """

    def __init__(self, couplings: list[Tensor], num_elements: int, channels: int) -> None:
        super().__init__()
        self.correlation, self.num_features = len(couplings), channels
        for order, coupling in enumerate(couplings, start=1):
            self.register_buffer(f"U_matrix_{order}", coupling.to(torch.get_default_dtype(), copy=True))
        counts = [coupling.shape[-1] for coupling in couplings]
        self.weights_max, *rest = (
            nn.Parameter(torch.randn(num_elements, count, channels) / count) for count in reversed(counts)
        )
        self.weights = nn.ParameterList(rest)
        self._freeze([not coupling.any() for coupling in couplings])

    def _freeze(self, empty: list[bool]) -> None:
        """As in MACE, which takes `weights` in ascending order here though it holds them in descending order."""
        for index, zeroed in enumerate(empty):
            last = index == self.correlation - 1
            weight = self.weights_max if last else self.weights[index]
            if zeroed:
                weight.requires_grad_(False).zero_()
            self.register_buffer(f"weights_{'max' if last else index}_zeroed", torch.tensor(zeroed))

    @torch.jit.export
    def path_weights(self) -> list[Tensor]:
        """(elements, paths, C) of each order, the highest first."""
        parts: list[Tensor] = [self.weights_max]
        for weight in self.weights:
            parts.append(weight)
        return parts


class SymmetricContraction(nn.Module):
    """z = sum over orders 1 to correlation of w U x ... x, weights by element: x (n, C, d), y (n, elements).

    y is one-hot, or any mixture of elements, as MACE's. The output is flat, (n, irreps_out.dim).

    Args:
        correlation: number of factors; MACE's other arguments are accepted, and checked where they change nothing.
    Raises:
        InputError: arguments that MACE does not take either, a reduced basis where cuequivariance would make one
            (`replacement` takes it from a module of MACE), operands of the wrong shape, dtype or device.
    """

    __e3nn_compile_mode__ = "script"  # e3nn.util.jit.compile reads it

    _sizes: list[int]

    def __init__(
        self,
        irreps_in: IrrepsLike,
        irreps_out: IrrepsLike,
        correlation: int,
        irrep_normalization: str | None = "component",
        path_normalization: str | None = "element",
        use_reduced_cg: bool | None = False,
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        num_elements: int | None = None,
    ) -> None:
        super().__init__()
        given = (irrep_normalization or "component", path_normalization or "element")
        for value, known in zip(given, NORMALISATIONS, strict=True):
            if value not in known:
                raise InputError(f"SymmetricContraction: normalization {value!r}: choose one of {', '.join(known)}")
        if internal_weights is False or (internal_weights and not shared_weights):
            raise InputError("SymmetricContraction holds its weights: leave internal_weights out")
        if use_reduced_cg and importlib.util.find_spec("cuequivariance"):
            raise InputError("SymmetricContraction: use_reduced_cg takes cuequivariance's basis: use `replacement`")
        correlation, elements = _positive("correlation", correlation), _positive("num_elements", num_elements)
        self.internal_weights, self.shared_weights = True, shared_weights
        irreps_in, irreps_out = as_irreps(irreps_in), as_irreps(irreps_out)
        inner = tuple(ir for _, ir in irreps_in)
        couplings = [[coupling_tensor(inner, ir, order) for order in range(1, correlation + 1)] for _, ir in irreps_out]
        self._assemble(irreps_in, irreps_out, couplings, elements)

    def _assemble(self, irreps_in, irreps_out, couplings: list[list[Tensor]], num_elements: int) -> None:
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self._channels, self._d = common_multiplicity(irreps_in, "irreps_in"), sum(ir.dim for _, ir in irreps_in)
        if irreps_out and common_multiplicity(irreps_out, "irreps_out") != self._channels:
            raise InputError(f"SymmetricContraction: multiplicities of {irreps_in} and {irreps_out} differ")
        self._sizes, self._num_elements = [ir.dim for _, ir in irreps_out], num_elements
        self.contractions = nn.ModuleList(Contraction(own, num_elements, self._channels) for own in couplings)
        self._plan(couplings)

    def _plan(self, couplings: list[list[Tensor]]) -> None:
        """The coupling tensors as one sparse polynomial, weights in the order of `path_weights`."""
        terms, path, component = [], 0, 0
        for size, own in zip(self._sizes, couplings, strict=True):
            for order in range(len(own), 0, -1):
                terms.append(_symmetrised(own[order - 1], size, self._d, order, path, component))
                path += own[order - 1].shape[-1]
            component += size
        single = any(coupling.dtype == torch.float32 for own in couplings for coupling in own)
        rounding = ROUNDING if single else 1e-12
        self.polynomials = ElementPolynomials(terms, path, self._d, component, rounding=rounding)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Features x (n, C, d) and elements y (n, elements) to (n, irreps_out.dim)."""
        if not torch.jit.is_scripting():
            self._check(x, y)
        parts: list[Tensor] = []
        for contraction in self.contractions:
            # The list's members are plain modules to its type. TorchScript wants nothing behind the comment.
            parts.extend(contraction.path_weights())  # type: ignore[operator]
        weight = torch.cat(parts, dim=1)
        element = y.argmax(dim=1)
        if y.requires_grad or not is_one_hot(y, element):
            weight = (y @ weight.flatten(1)).view(-1, weight.shape[1], weight.shape[2])
            element = torch.arange(y.shape[0], device=y.device)
        z = self.polynomials(x, weight, element)
        if len(self._sizes) == 1:
            return z.flatten(1)
        return torch.cat([block.flatten(1) for block in z.split(self._sizes, dim=2)], dim=1)

    @torch.jit.unused
    def _contractions(self) -> list[Contraction]:
        """TorchScript iterates over the list of modules alone."""
        return [contraction for contraction in self.contractions if isinstance(contraction, Contraction)]

    @torch.jit.unused
    def _check(self, x: Tensor, y: Tensor) -> None:
        for name, value, shape in (("x", x, (self._channels, self._d)), ("y", y, (self._num_elements,))):
            if tuple(value.shape[1:]) != shape:
                expected = ", ".join(map(str, ("n", *shape)))
                raise InputError(f"SymmetricContraction: {name} has shape {tuple(value.shape)}, expected ({expected})")
        if len(x) != len(y):
            raise InputError(f"SymmetricContraction: {len(x)} atoms in x, {len(y)} in y")
        own = self.contractions[0].weights_max
        if not torch.is_autocast_enabled(x.device.type) and {(x.dtype, x.device)} != {
            (t.dtype, t.device) for t in (own, y)
        }:
            actual = ", ".join(f"{n} is {t.dtype} on {t.device}" for n, t in (("x", x), ("y", y), ("the layer", own)))
            raise InputError(f"SymmetricContraction: {actual}: convert them to one dtype and device")

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """Coupling tensors of other signs, or of another basis, win over those of the installed e3nn."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        couplings, changed = [], False
        for index, contraction in enumerate(self._contractions()):
            couplings.append([])
            for order in range(1, contraction.correlation + 1):
                own = getattr(contraction, f"U_matrix_{order}")
                stored = state_dict.get(f"{prefix}contractions.{index}.U_matrix_{order}", own)
                couplings[-1].append(stored)
                changed = changed or (stored.shape == own.shape and not _same(stored, own))
        if changed:
            self._plan(exact_couplings(couplings, self.irreps_in, self.irreps_out))
            self.polynomials.to(self._contractions()[0].weights_max)

    def __repr__(self) -> str:
        paths = sum(weight.shape[1] for c in self._contractions() for weight in c.path_weights())
        sizes = f"{paths} paths | {self._num_elements} elements"
        return f"SymmetricContraction({self.irreps_in} -> {self.irreps_out} | {sizes})"


def _positive(name: str, value: int | None) -> int:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"SymmetricContraction: {name} is {value!r}: give a whole number >= 1")
    return value


def is_one_hot(y: Tensor, element: Tensor) -> bool:
    """Whether every row has a 1 at its element and nothing else."""
    return torch.equal(y, torch.zeros_like(y).scatter(1, element.unsqueeze(1), 1.0))


@lru_cache(maxsize=32)
@torch.inference_mode(False)  # what is kept must serve training too
def coupling_tensor(irs: tuple, ir_out, order: int) -> Tensor:
    """MACE's U of one order and output: all chains of couplings, not symmetrised; zeros and one path where none is."""
    allowed = None if order < 4 else (lambda ir: ir.p == (-1) ** ir.l and ir.l <= HIGHEST)
    chains = [chain for _, chain in coupling_chains(irs, order, installed_sign, allowed, last=ir_out)]
    d = sum(ir.dim for ir in irs)
    tensor = torch.stack(chains, dim=-1) if chains else torch.zeros(ir_out.dim, *[d] * order, 1, dtype=torch.float64)
    return tensor[0] if ir_out.l == 0 else tensor


def exact_couplings(couplings: list[list[Tensor]], irreps_in, irreps_out) -> list[list[Tensor]]:
    """Exact tensors in the place of stored ones that are ours up to rounding and the sign of each path.

    Others, such as cuequivariance's, are taken as they are.
    """
    inner = tuple(ir for _, ir in irreps_in)
    return [
        [_exact(stored.detach().cpu(), coupling_tensor(inner, ir, order)) for order, stored in enumerate(own, start=1)]
        for (_, ir), own in zip(irreps_out, couplings, strict=True)
    ]


def _exact(stored: Tensor, ours: Tensor) -> Tensor:
    if stored.shape != ours.shape:
        return stored
    signs = (ours * stored).flatten(0, -2).sum(0).sign()
    return ours * signs if _same(ours * signs, stored) else stored


def _symmetrised(coupling: Tensor, size: int, d: int, order: int, path: int, component: int) -> PolynomialTerm:
    tensor = coupling.detach().to("cpu", torch.float64).reshape(size, d**order, -1).permute(2, 0, 1)
    monomials, member = distinct_monomials(torch.cartesian_prod(*[torch.arange(d)] * order).view(-1, order))
    coefficients = sum_over_permutations(tensor, member, len(monomials))
    if coupling.dtype == torch.float32:
        coefficients[coefficients.abs() < ROUNDING * coefficients.abs().max()] = 0
    return PolynomialTerm(path, component, monomials, coefficients)


def _same(stored: Tensor, own: Tensor) -> bool:
    difference = (stored.to("cpu", torch.float64) - own.to("cpu", torch.float64)).abs().max()
    return bool(difference <= ROUNDING * own.abs().max())


def replacement(contraction: Any) -> SymmetricContraction:
    """Ours for a SymmetricContraction of MACE: its coupling tensors, whatever made them, and its very parameters.

    Raises:
        InputError: for a module that has not its parts.
    """
    try:
        theirs = list(contraction.contractions)
        couplings = [[c.get_buffer(f"U_matrix_{n}") for n in range(1, c.correlation + 1)] for c in theirs]
        num_elements = theirs[0].weights_max.shape[0]
    except (AttributeError, IndexError) as error:
        raise InputError(f"{type(contraction).__name__} is not a SymmetricContraction of MACE: {error}") from error
    ours = SymmetricContraction.__new__(SymmetricContraction)
    nn.Module.__init__(ours)
    ours.internal_weights, ours.shared_weights = True, contraction.shared_weights
    irreps = as_irreps(contraction.irreps_in), as_irreps(contraction.irreps_out)
    ours._assemble(*irreps, exact_couplings(couplings, *irreps), num_elements)
    ours.to(theirs[0].weights_max)
    for own, other in zip(ours._contractions(), theirs, strict=True):
        own.weights_max = other.weights_max
        own.weights = nn.ParameterList(other.weights)
    return ours.train(contraction.training)


def accelerate(model: nn.Module) -> list[str]:
    """Replace every SymmetricContraction of MACE inside `model`, in place; the names of those replaced.

    Parameters stay the same objects and the state dict the same, so optimisers and checkpoints go on as before.
    """
    names = []
    for name, parent in list(model.named_modules()):
        for key, child in list(parent.named_children()):
            if type(child).__name__ == "SymmetricContraction" and type(child).__module__.startswith("mace."):
                parent._modules[key] = replacement(child)
                names.append(f"{name}.{key}".lstrip("."))
    return names
