"""ASE calculators of our default model and of the peers; random weights do, speed does not depend on them.

A peer is offered where its package is installed: MACE in .venv-mace, NequIP in .venv-nequip (see README.md).
"""

import contextlib
from importlib import util

import numpy as np
import torch

ELEMENTS = (1, 6, 8, 14)
SYMBOLS = ("H", "C", "O", "Si")
CUTOFF = 5.0


def equitensor_calculator(dtype: str, settings: dict | None = None, model: str | None = None, **options):
    """`equitensor.Calculator` of a model file or, without one, of an untrained model with these settings."""
    import equitensor
    from equitensor.training.config import validate

    if model is None:
        settings = validate({"data": {"train": ""}, "model": settings or {}}, "settings").model.settings()
        model = equitensor.models.build(settings, ELEMENTS, dict.fromkeys(ELEMENTS, 0.0))
    return equitensor.Calculator(model, device="cpu", dtype=dtype, **options)


@contextlib.contextmanager
def e3nn_constants():
    """Lets e3nn 0.4.4 load its own constants, which hold slices, under torch >= 2.6."""
    with torch.serialization.safe_globals([slice]):
        yield


def mace_model(dtype: str, channels: int = 32) -> torch.nn.Module:
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
            radial_MLP=[64, 64, 64],
            radial_type="bessel",
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        )


def mace_calculator(dtype: str, channels: int = 32):
    """`MACECalculator` of `mace_model`."""
    model = mace_model(dtype, channels)
    from mace.calculators import MACECalculator

    return MACECalculator(models=[model], device="cpu", default_dtype=dtype)


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


def nequip_calculator(dtype: str, channels: int = 32):
    """`NequIPCalculator` of `nequip_model`.

    Not compiled: it refuses TorchScript from torch 2.10 on, its ahead-of-time route needs a trained package.
    """
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms

    model = nequip_model(dtype, channels).eval()
    transforms = basic_transforms(model.metadata, CUTOFF, list(SYMBOLS), dict(zip(SYMBOLS, SYMBOLS, strict=True)))
    return NequIPCalculator(model, device="cpu", transforms=transforms)


def peers() -> dict:
    """Name -> builder (taking the dtype) of the peers that this environment has."""
    calculators = {}
    if util.find_spec("mace"):
        calculators["mace"] = mace_calculator
    if util.find_spec("nequip"):
        calculators["nequip"] = nequip_calculator
    return calculators
