"""Many structures relaxed at once, each by an L-BFGS of its own, all computed together."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from equitensor.errors import InputError
from equitensor.graph import Structure, check_geometry
from equitensor.interfaces.batched_list import Batch

# ASE's (ase.optimize.LBFGS): curvature before any is known (eV/Angstrom^2), steps remembered, longest step (Angstrom).
_CURVATURE, _MEMORY, _LONGEST = 70.0, 100, 0.2


@dataclass(frozen=True)
class Relaxed:
    """How it ended: `structure` as it came to rest, with the model's energy (and forces), `start` its energy before
    (eV), steps, whether no force exceeds fmax, and `fault`, what made it stop where it is no structure any more."""

    structure: Structure
    start: float
    converged: bool
    steps: int
    fault: str = ""


def relax_many(
    engine,
    structures: Iterable[Structure],
    fmax: float = 0.02,
    steps: int = 200,
    batch_size: int = 16,
    on_end: Callable[[int], None] | None = None,
) -> Iterator[Relaxed]:
    """Each structure moved downhill until no force exceeds fmax (eV/Angstrom), in a fixed cell; in their order.

    engine: of `open_batched`; atoms marked fixed do not move, and their forces do not count. Each takes the path that
    `relax` gives it alone. on_end(count) is called as batches end. Raises InputError for structures that no model
    answers; one that becomes so on its way has a `fault`, as one has that was so at its start.
    """
    if not fmax > 0 or steps < 0 or batch_size < 1:
        raise InputError(
            f"fmax {fmax}, steps {steps}, batch size {batch_size}: fmax must be above 0, steps 0 or more, batch size 1 "
            "or more"
        )
    waiting: list[Structure] = []
    count = 0
    for structure in structures:
        waiting.append(structure)
        if len(waiting) == batch_size:
            yield from _relax(engine, waiting, fmax, steps)
            count, waiting = count + len(waiting), []
            if on_end is not None:
                on_end(count)
    if waiting:
        yield from _relax(engine, waiting, fmax, steps)
        if on_end is not None:
            on_end(count + len(waiting))


def _relax(engine, structures: list[Structure], fmax: float, steps: int) -> list[Relaxed]:
    """The same for as many as are computed together."""
    descent = _Descent(engine, structures)
    step = 0
    while descent.left:
        out = descent.computed(step)
        if out is None:
            continue
        energy, forces = out["energy"].double(), descent.moving.free(out["forces"].double())
        largest = descent.moving.largest(forces)
        finite = torch.isfinite(largest) & torch.isfinite(energy)
        converged = largest < fmax
        stay = finite & ~converged & (step < steps)
        for i in (~stay).nonzero()[:, 0].tolist():
            fault = "" if finite[i] else "the model gives no finite forces"
            descent.end(i, step, float(energy[i]), out["forces"], bool(converged[i]), fault)
        if stay.any():
            descent.moving.step(forces, stay)
        descent.keep(stay)
        step += 1
    return descent.ended


class _Descent:
    """Which structures are still on their way (`left`, by number), how the others ended, and energies at the start."""

    def __init__(self, engine, structures: list[Structure]):
        self.engine, self.structures = engine, structures
        self.ended = [Relaxed(structure, np.nan, False, 0, _fault(structure)) for structure in structures]
        self.left = [k for k, each in enumerate(self.ended) if not each.fault]
        self.start: dict[int, float] = {}
        if self.left:
            self.moving = _Moving.of([structures[k] for k in self.left], engine.device)

    def computed(self, step: int) -> dict[str, Tensor] | None:
        """Energies and forces where the atoms are; None where some structures had to be ended, since they are none any
        more. Raises InputError for what is not the doing of the relaxation."""
        try:
            out = self.engine.compute(self.moving.batch, stress=False)
        except InputError:
            now = [self.moving.structure(i, self.structures[k]) for i, k in enumerate(self.left)]
            faults = [_fault(structure) for structure in now]
            if not any(faults):
                raise
            for i, fault in enumerate(faults):
                if fault:
                    self.end(i, step, None, None, False, fault)
            self.keep(torch.tensor([not fault for fault in faults]))
            return None
        for k, energy in zip(self.left, out["energy"].tolist(), strict=True):
            self.start.setdefault(k, energy)
        return out

    def end(self, i: int, step: int, energy, forces, converged: bool, fault: str) -> None:
        """Structure i of those left has come to rest, or to grief."""
        k = self.left[i]
        structure = self.moving.structure(i, self.structures[k], energy, forces)
        self.ended[k] = Relaxed(structure, self.start.get(k, np.nan), converged, step, fault)

    def keep(self, stay: Tensor) -> None:
        """Go on with those structures."""
        if not stay.all():
            self.left = [k for k, stays in zip(self.left, stay.tolist(), strict=True) if stays]
            if self.left:
                self.moving = self.moving.of_those(stay)


def _fault(structure: Structure) -> str:
    """Why a model cannot answer this geometry, or ""."""
    try:
        check_geometry(structure.pos, structure.cell, structure.pbc)
    except InputError as error:
        return str(error)
    return ""


class _Moving:
    """Structures on their way down, and what the L-BFGS of each remembers."""

    def __init__(self, batch: Batch, fixed: Tensor):
        self.batch, self.fixed = batch, fixed
        self._memory: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)  # s, y (n, 3), 1 / s.y (b,)
        self._before: tuple[Tensor, Tensor] | None = None  # positions and forces a step ago

    @classmethod
    def of(cls, structures: list[Structure], device) -> "_Moving":
        def tensor(arrays, kind=np.concatenate):
            return torch.from_numpy(kind(arrays)).to(device)

        sizes = torch.tensor([len(structure) for structure in structures])
        batch = Batch(
            z=tensor([structure.z for structure in structures]),
            pos=tensor([structure.pos for structure in structures]),
            batch=torch.repeat_interleave(torch.arange(len(structures)), sizes).to(device),
            cell=tensor([structure.cell for structure in structures], np.stack),
            pbc=tensor([structure.pbc for structure in structures], np.stack),
        )
        held = [np.zeros(len(s), bool) if s.fixed is None else s.fixed for s in structures]
        return cls(batch, tensor(held))

    def of_those(self, stay: Tensor) -> "_Moving":
        """Those structures alone, with what they remember."""
        stay = stay.to(self.fixed.device)
        atoms = stay[self.batch.batch]
        kept = {name: getattr(self.batch, name)[atoms] for name in ("z", "pos", "batch")}
        kept["batch"] = (torch.cumsum(stay, 0) - 1)[kept["batch"]]
        kept |= {name: getattr(self.batch, name)[stay] for name in ("cell", "pbc")}
        those = _Moving(Batch(**kept), self.fixed[atoms])
        those._memory.extend((s[atoms], y[atoms], rho[stay]) for s, y, rho in self._memory)
        if self._before is not None:
            pos, forces = self._before
            those._before = pos[atoms], forces[atoms]
        return those

    def free(self, forces: Tensor) -> Tensor:
        """Forces, zero on atoms that are held."""
        return forces.masked_fill(self.fixed[:, None], 0.0)

    def largest(self, forces: Tensor) -> Tensor:
        """(b,) the longest of the (n, 3) vectors of each structure; NaN where one is."""
        lengths = forces.norm(dim=1)
        most = forces.new_zeros(self.batch.num_graphs).scatter_reduce(0, self.batch.batch, lengths, "amax")
        return most + 0.0 * self.batch.sums(lengths)

    def step(self, forces: Tensor, stay: Tensor) -> None:
        """Move the atoms of those that stay by a step of L-BFGS each (Nocedal and Wright, algorithm 7.4)."""
        pos, rows = self.batch.pos, self.batch.batch
        if self._before is not None:
            s, y = pos - self._before[0], self._before[1] - forces
            curvature = self.batch.sums((s * y).sum(1))
            self._memory.append((s, y, torch.where(curvature == 0, 0.0, 1.0 / curvature)))
        self._before = (pos, forces)
        q, factors = -forces, []
        for s, y, rho in reversed(self._memory):
            factor = rho * self.batch.sums((s * q).sum(1))
            q = q - factor[rows, None] * y
            factors.append(factor)
        q = q / _CURVATURE
        for (s, y, rho), factor in zip(self._memory, reversed(factors), strict=True):
            q = q + (factor - rho * self.batch.sums((y * q).sum(1)))[rows, None] * s
        shorten = (_LONGEST / self.largest(q)).clamp(max=1.0) * stay
        self.batch = replace(self.batch, pos=pos - shorten[rows, None] * q)

    def structure(self, k: int, origin: Structure, energy=None, forces=None) -> Structure:
        """Structure number k where it is now, with these results for it; all else as in its origin."""
        mine = self.batch.batch == k
        moved = origin.replace(pos=self.batch.pos[mine].cpu().numpy(), energy=energy)
        return moved.replace(forces=None if forces is None else forces[mine].double().cpu().numpy(), stress=None)
