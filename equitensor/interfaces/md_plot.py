"""The table of a simulation as a picture."""

from pathlib import Path

import numpy as np

COLUMNS = ("step", "time", "potential", "kinetic", "total", "temperature", "volume")
UNITS = ("", "fs", "eV", "eV", "eV", "K", "Angstrom^3")


def plot_table(table, out) -> None:
    """Draw the energies and the temperature of a table over time into a PNG."""
    from matplotlib.figure import Figure

    rows = Path(table).read_text().splitlines()[1:]
    if not rows:
        return
    column = dict(zip(COLUMNS, np.loadtxt(rows, delimiter=",", ndmin=2).T, strict=True))
    figure = Figure(figsize=(7, 5), layout="constrained")
    energy, temperature = figure.subplots(2, sharex=True)
    for name in ("potential", "total"):
        energy.plot(column["time"] / 1000, column[name] - column["total"][0], label=name, linewidth=1)
    energy.set_ylabel("energy - first total (eV)")
    energy.legend()
    temperature.plot(column["time"] / 1000, column["temperature"], color="tab:red", linewidth=1)
    temperature.axhline(column["temperature"].mean(), color="gray", linewidth=0.8, linestyle="--")
    temperature.set_ylabel("temperature (K)")
    temperature.set_xlabel("time (ps)")
    figure.savefig(out, dpi=150)
