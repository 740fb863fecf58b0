"""What the tests of fine-tuning begin with: a run up to its model, and frames at another level of theory."""

from ase.calculators.singlepoint import SinglePointCalculator
from rich.console import Console

from equitensor.training.setup import build_model, open_data


def prepared(config):
    data = open_data(config, Console(quiet=True))
    return data, build_model(config, data)


def relabelled(frames, offsets, element=None):
    """The same frames at another level of theory: energies off by so much per atom of an element."""
    copies = []
    for atoms in frames:
        copy = atoms.copy()
        if element is not None:
            copy.numbers[copy.numbers == 7] = element
        results = dict(atoms.calc.results)
        results["energy"] = results["energy"] + sum(offsets.get(s, 0.0) for s in copy.get_chemical_symbols())
        copy.calc = SinglePointCalculator(copy, **results)
        copies.append(copy)
    return copies
