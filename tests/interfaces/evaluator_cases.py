"""Potentials and structures on which the compiled evaluator and torch are compared."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equitensor import models
from equitensor.models import ErrorBars, write_error_bars

PRODUCTS = ("gaunt", "cg", "cp")


def random_potential(elements=(1, 6, 13), shift=-1.3, seed=0, **settings):
    """A potential of float32 weights, none of them zero, that is small unless `settings` say otherwise."""
    settings = {"cutoff": 4.5, "channels": 8, "lmax": 2, "layers": 2, "num_radial": 5} | settings
    e0s = {z: -1.1 * z for z in elements}
    model = models.build(settings, list(elements), e0s, scale=2.3, shift=shift, num_neighbors=20.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    if model.repulsion is not None:
        model.repulsion.set_begins(1.5 * model.repulsion.begins.double())  # so that bonds are below it
    return model


def random_error_bars(elements, num_features, by_element=True, seed=0) -> ErrorBars:
    """Of no data: every number random; the last of several elements has not been seen in training."""
    rng, k, d = np.random.default_rng(seed), len(elements), num_features
    m = k * d + k if by_element else d + k
    matrices = (rng.normal(size=shape) for shape in ((m, m), (d, d), (d, d), (k, d)))
    forces_scale, novelty_scale = rng.uniform(0.5, 2, (2, k))
    if k > 1:
        novelty_scale[-1] = np.inf
    return ErrorBars(np.array(elements), *matrices, forces_scale, novelty_scale)


def structures(elements=(1, 6, 13)) -> dict[str, Atoms]:
    """One of each kind: molecule, skewed cell, slab, wire, one atom in a cell, isolated atoms."""
    rng = np.random.default_rng(1)
    skewed = bulk("Al", "fcc", a=4.0) * (2, 1, 1)
    skew = np.array([[0, 0, 0], [1.5, 0.3, 0], [-2, 1, 0.4]])
    skewed.set_cell(skewed.cell.array + skew, scale_atoms=True)
    slab = fcc111("Al", (2, 2, 3))
    slab.pbc = (True, True, False)
    wire = Atoms("Al3", [[0, 0, 0], [2.0, 0.3, 0], [0.5, 2.2, 0.1]], cell=[4.1, 0, 0], pbc=(True, False, False))
    cases = {
        "molecule": molecule("CH3CH2OH"),
        "skewed": skewed,
        "slab": slab,
        "wire": wire,
        "one atom": bulk("Al", "fcc", a=4.0),
        "isolated": Atoms("Al"),
        "two far": Atoms("Al2", [[0, 0, 0], [20, 0, 0]]),
    }
    for atoms in cases.values():
        atoms.numbers = rng.choice(elements, len(atoms))
        atoms.positions += 0.08 * rng.standard_normal(atoms.positions.shape)
    return cases


def mutated(whole: bytes, rng) -> bytes:
    """A model file with one thing wrong with it."""
    size = 8 + int.from_bytes(whole[:8], "little")  # of the length and the header; weights come after them
    damaged = bytearray(whole)
    kind = rng.integers(5)
    if kind == 0:
        return whole[: rng.integers(len(whole))]
    if kind == 1:  # anything in the header
        for place in rng.integers(0, size, rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
    elif kind == 2:  # numbers in the header: sizes, shapes, offsets, settings
        digits = [place for place in range(8, size) if whole[place : place + 1].isdigit()]
        for place in rng.choice(digits, rng.integers(1, 4)):
            damaged[place] = ord(rng.choice(list("0123456789-e.")))
    elif kind == 3:  # weights, coupling table
        for place in rng.integers(size, len(whole), 8):
            damaged[place] = rng.integers(256)
    else:  # a part of the file over another
        start, to, length = rng.integers(8, len(whole)), rng.integers(8, len(whole)), rng.integers(1, 64)
        damaged[to : to + length] = whole[start : start + length]
    return bytes(damaged)


def write_models(folder) -> None:
    """Small model files of every kind that the evaluator takes, for `.ci/sanitize` and `.ci/threads`."""
    for product in PRODUCTS:
        for lmax, channels in enumerate((3, 5, 7, 9, 2)):
            settings = {"product": product, "lmax": lmax, "channels": channels, "edge_channels": 2 + lmax}
            settings |= {"layers": 1 + (lmax + len(product)) % 3, "correlation": 1 + lmax % 4, "zbl": lmax % 2 == 1}
            models.save(random_potential(**settings), f"{folder}/{product}{lmax}.eqt")
    models.save(random_potential(normalized=True, repulsion=True), f"{folder}/repulsion.eqt")
    models.save(random_potential(channels=33, edge_channels=17), f"{folder}/wide.eqt")
    ten = (1, 3, 6, 8, 13, 22, 29, 47, 79, 92)
    models.save(random_potential(ten, channels=1, edge_channels=1, num_radial=1, lmax=1), f"{folder}/elements.eqt")
    write_error_bars(f"{folder}/elements.eqt", random_error_bars(ten, 2))
    write_error_bars(f"{folder}/wide.eqt", random_error_bars((1, 6, 13), 66, by_element=False))


if __name__ == "__main__":
    import sys

    write_models(sys.argv[1])
