"""Dispersion added to what an engine computes of many structures at once."""

from collections.abc import Iterator

import numpy as np
import torch

from equitensor.graph import Structure
from equitensor.interfaces.batched_list import Batch
from equitensor.models import D3


class ManyWithD3:
    """An engine of `open_batched` whose results have D3 too, structure by structure."""

    def __init__(self, engine, d3: D3):
        self.engine, self.d3 = engine, d3

    def __getattr__(self, name):
        if name in ("engine", "d3"):
            raise AttributeError(name)
        return getattr(self.engine, name)

    def compute(self, now: Batch, forces: bool = True, stress: bool = True) -> dict[str, torch.Tensor]:
        """As the engine's."""
        out = self.engine.compute(now, forces, stress)
        structures = list(_structures(now))
        added = [self.d3.compute(each, stress and bool(each.pbc.all())) for each in structures]

        def tensor(arrays, like):
            return torch.from_numpy(np.asarray(arrays)).to(like)

        out["energy"] = out["energy"] + tensor([each.energy for each in added], out["energy"])
        own = np.concatenate([self.d3.energies(each) for each in structures])
        out["energies"] = out["energies"] + tensor(own, out["energies"])
        if forces:
            out["forces"] = out["forces"] + tensor(np.concatenate([each.forces for each in added]), out["forces"])
        if stress:
            nothing = np.zeros((3, 3))  # beside NaN
            stresses = [nothing if each.stress is None else each.stress for each in added]
            out["stress"] = out["stress"] + tensor(np.stack(stresses), out["stress"])
        return out


def _structures(now: Batch) -> Iterator[Structure]:
    """Those of a batch, in numpy."""
    z, pos, rows, cells, pbcs = (each.cpu().numpy() for each in (now.z, now.pos, now.batch, now.cell, now.pbc))
    for k in range(len(cells)):
        mine = rows == k
        yield Structure(z[mine], pos[mine], cells[k], pbcs[k])
