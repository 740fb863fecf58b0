"""Models of the peers with random weights, and one step of force evaluation or training of each: for accelerate.py.

Every batch is made once, neighbours included: what is timed is the model alone.
"""

from collections.abc import Callable
from importlib import util

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from calculators import CUTOFF, ELEMENTS, SYMBOLS, e3nn_constants

from equitensor.bench.structures import acac


def structures() -> dict[str, list[Atoms]]:
    """Five molecules of 15 atoms, and rattled silicon of 64 and of 216 atoms."""
    found = {"acac x 5": [acac() for _ in range(5)]}
    for repeat in (2, 3):
        atoms = bulk("Si", cubic=True).repeat(repeat)
        found[f"silicon {len(atoms)}"] = [atoms]
    for name, frames in found.items():
        for seed, atoms in enumerate(frames):
            atoms.rattle(0.05, seed=seed + len(name))
    return found


def mace_model(dtype: str, channels: int = 128) -> torch.nn.Module:
    """ScaleShiftMACE: channels x (0e + 1o), two layers, correlation 3, max_ell 3, r_max 5."""
    with e3nn_constants():
        from e3nn import o3
        from mace import modules
        from mace.tools.torch_tools import default_dtype
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    torch.manual_seed(0)
    with default_dtype(dtype):
        return modules.ScaleShiftMACE(
            r_max=CUTOFF,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=3,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=len(ELEMENTS),
            hidden_irreps=o3.Irreps(f"{channels}x0e + {channels}x1o"),
            MLP_irreps=o3.Irreps("16x0e"),
            atomic_energies=np.zeros(len(ELEMENTS)),
            avg_num_neighbors=12.0,
            atomic_numbers=list(ELEMENTS),
            correlation=3,
            gate=torch.nn.functional.silu,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        )


def mace_batch(frames: list[Atoms], dtype: str) -> dict:
    """What MACE's own loader makes of the structures."""
    from mace.data import AtomicData, config_from_atoms
    from mace.tools import AtomicNumberTable, torch_geometric
    from mace.tools.torch_tools import default_dtype

    with default_dtype(dtype):
        table = AtomicNumberTable(list(ELEMENTS))
        found = [AtomicData.from_config(config_from_atoms(atoms), table, CUTOFF) for atoms in frames]
        loader = torch_geometric.dataloader.DataLoader(found, batch_size=len(found), shuffle=False)
        return next(iter(loader)).to_dict()


def mace_call(model: torch.nn.Module, batch: dict, training: bool) -> dict:
    """Energies and forces; `training` keeps their graph."""
    return model(dict(batch), training=training)


def nequip_model(dtype: str, channels: int = 32) -> torch.nn.Module:
    """NequIP: four layers, l_max 2, no parity as in its own presets, r_max 5."""
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    return NequIPGNNModel(
        seed=0,
        model_dtype=dtype,
        type_names=list(SYMBOLS),
        r_max=CUTOFF,
        num_layers=4,
        l_max=2,
        parity=False,
        num_features=channels,
        avg_num_neighbors=12.0,
    )


def nequip_batch(frames: list[Atoms], dtype: str) -> dict:
    """What NequIP's own data pipeline makes of the structures; its positions are float64 for any model."""
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

    names = dict(zip(SYMBOLS, SYMBOLS, strict=True))
    types, neighbors = ChemicalSpeciesToAtomTypeMapper(list(SYMBOLS), names), NeighborListTransform(r_max=CUTOFF)
    return AtomicDataDict.batched_from_list([neighbors(types(from_ase(atoms))) for atoms in frames])


def nequip_call(model: torch.nn.Module, batch: dict, training: bool) -> dict:
    """Energies and forces; NequIP keeps their graph in its training mode."""
    found = model.train(training)(dict(batch))
    return {"energy": found["total_energy"].flatten(), "forces": found["forces"]}


def training_step(call: Callable, model: torch.nn.Module, batch: dict) -> None:
    """Energies, forces, and the gradient of their squares by every parameter."""
    found = call(model, batch, True)
    loss = found["energy"].square().mean() + 100 * found["forces"].square().mean()
    model.zero_grad()
    loss.backward()


def peers() -> dict[str, tuple[Callable, Callable, Callable]]:
    """Name -> (model, batch, call) of the peers that this environment has."""
    found = {}
    if util.find_spec("mace"):
        found["mace 128x0e+128x1o"] = (mace_model, mace_batch, mace_call)
    if util.find_spec("nequip"):
        found["nequip l_max 2, 32 features"] = (nequip_model, nequip_batch, nequip_call)
        found["nequip l_max 2, 64 features"] = (lambda dtype: nequip_model(dtype, 64), nequip_batch, nequip_call)
    return found
