"""Dispersion added to what an engine computes."""

from equitensor.graph import Structure
from equitensor.models import D3


class WithD3:
    """An engine of `open_engine` whose results have D3 too; all else is the engine's own.

    Energies of the atoms, which cost D3 a second time, only where they are asked for.
    """

    def __init__(self, engine, d3: D3):
        self.engine, self.d3 = engine, d3

    def __getattr__(self, name):
        if name in ("engine", "d3"):  # not yet there in a copy
            raise AttributeError(name)
        return getattr(self.engine, name)

    @property
    def error_bars(self):
        """Those of the engine, which are taken away from it by None."""
        return self.engine.error_bars

    @error_bars.setter
    def error_bars(self, bars):
        self.engine.error_bars = bars

    def compute(self, structure: Structure, stress: bool, features: bool = False, energies: bool = False) -> dict:
        """As the engine's, with `energies` (n,) where asked for."""
        out = self.engine.compute(structure, stress, features)
        out = self.d3.compute(structure, stress).added_to_results(out)
        own = out.pop("energies")
        return out | {"energies": own + self.d3.energies(structure)} if energies else out
