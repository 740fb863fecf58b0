"""Models of the peers with random weights, and one step of force evaluation or training of each: for accelerate.py.

Every batch is made once, neighbours included: what is timed is the model alone.
"""

from collections.abc import Callable
from importlib import util

import torch
from ase import Atoms
from ase.build import bulk
from calculators import CUTOFF, ELEMENTS, SYMBOLS, mace_model, nequip_model

from equitensor.bench.structures import acac


def structures() -> dict[str, list[Atoms]]:
    """Five molecules of 15 atoms, and rattled silicon of 64 and of 216 atoms."""
    cases = {"acac x 5": [acac() for _ in range(5)]}
    for repeat in (2, 3):
        atoms = bulk("Si", cubic=True).repeat(repeat)
        cases[f"silicon {len(atoms)}"] = [atoms]
    for name, frames in cases.items():
        for seed, atoms in enumerate(frames):
            atoms.rattle(0.05, seed=seed + len(name))
    return cases


def mace_batch(frames: list[Atoms], dtype: str) -> dict:
    """What MACE's own loader makes of the structures."""
    from mace.data import AtomicData, config_from_atoms
    from mace.tools import AtomicNumberTable, torch_geometric
    from mace.tools.torch_tools import default_dtype

    with default_dtype(dtype):
        table = AtomicNumberTable(list(ELEMENTS))
        graphs = [AtomicData.from_config(config_from_atoms(atoms), table, CUTOFF) for atoms in frames]
        loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
        return next(iter(loader)).to_dict()


def mace_call(model: torch.nn.Module, batch: dict, training: bool) -> dict:
    """Energies and forces; `training` keeps their graph."""
    return model(dict(batch), training=training)


def nequip_batch(frames: list[Atoms], dtype: str) -> dict:
    """What NequIP's own data pipeline makes of the structures; its positions are float64 for any model."""
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

    names = dict(zip(SYMBOLS, SYMBOLS, strict=True))
    types, neighbors = ChemicalSpeciesToAtomTypeMapper(list(SYMBOLS), names), NeighborListTransform(r_max=CUTOFF)
    return AtomicDataDict.batched_from_list([neighbors(types(from_ase(atoms))) for atoms in frames])


def nequip_call(model: torch.nn.Module, batch: dict, training: bool) -> dict:
    """Energies and forces; NequIP keeps their graph in its training mode."""
    output = model.train(training)(dict(batch))
    return {"energy": output["total_energy"].flatten(), "forces": output["forces"]}


def training_step(call: Callable, model: torch.nn.Module, batch: dict) -> None:
    """Energies, forces, and the gradient of their squares by every parameter."""
    output = call(model, batch, True)
    loss = output["energy"].square().mean() + 100 * output["forces"].square().mean()
    model.zero_grad()
    loss.backward()


def peers() -> dict[str, tuple[Callable, Callable, Callable]]:
    """Name -> (model, batch, call) of the peers that this environment has."""
    models = {}
    if util.find_spec("mace"):
        models["mace 128x0e+128x1o"] = (lambda dtype: mace_model(dtype, 128), mace_batch, mace_call)
    if util.find_spec("nequip"):
        models["nequip l_max 2, 32 features"] = (nequip_model, nequip_batch, nequip_call)
        models["nequip l_max 2, 64 features"] = (lambda dtype: nequip_model(dtype, 64), nequip_batch, nequip_call)
    return models
