"""Small models of MACE and batches for them; to be imported after `as_irreps` was called, where mace is installed."""

import torch
from ase.build import molecule
from mace import data, modules, tools

from equitensor.o3 import as_irreps

ELEMENTS = [1, 6, 7, 8, 9, 14, 15, 16, 17]


def scale_shift_mace(block, channels, **settings):
    """`ScaleShiftMACE` of two layers of these blocks; settings go before those here."""
    torch.manual_seed(0)
    given = {
        "r_max": 3.0,
        "num_bessel": 4,
        "num_polynomial_cutoff": 5,
        "max_ell": 2,
        **dict.fromkeys(("interaction_cls", "interaction_cls_first"), modules.interaction_classes[block]),
        "num_interactions": 2,
        "num_elements": len(ELEMENTS),
        "hidden_irreps": as_irreps(f"{channels}x0e+{channels}x1o"),
        "MLP_irreps": as_irreps("4x0e"),
        "atomic_energies": torch.zeros(len(ELEMENTS)).numpy(),
        "avg_num_neighbors": 4.0,
        "atomic_numbers": ELEMENTS,
        "correlation": 2,
        "gate": torch.nn.functional.silu,
        "atomic_inter_scale": 1.0,
        "atomic_inter_shift": 0.0,
        "radial_MLP": [8],
    }
    return modules.ScaleShiftMACE(**{**given, **settings})


def batch_of(*names):
    """Molecules of ASE's as one batch."""
    table = tools.AtomicNumberTable(ELEMENTS)
    graphs = [data.AtomicData.from_config(data.config_from_atoms(molecule(name)), table, 3.0) for name in names]
    loader = tools.torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs))
    return next(iter(loader)).to_dict()


def results(model, batch):
    """Energies, forces, and the gradients of a loss of both by every parameter."""
    output = model(dict(batch), training=True)
    weights = [p for p in model.parameters() if p.requires_grad]
    loss = output["energy"].square().sum() + output["forces"].square().sum()
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return [output["energy"].detach(), output["forces"].detach(), *(g for g in gradients if g is not None)]
