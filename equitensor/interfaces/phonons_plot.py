"""A band structure of phonons as a picture."""

import numpy as np

from equitensor.whole_file import whole_file


def plot_bands(bands, out) -> None:
    """Draw the frequencies of `Phonons` along their path into a PNG; imaginary ones are below zero."""
    from matplotlib.figure import Figure

    breaks = np.flatnonzero(np.diff(bands.distances) == 0) + 1
    distances = np.insert(bands.distances, breaks, np.nan)
    frequencies = np.insert(bands.frequencies, breaks, np.nan, axis=0)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(distances, frequencies, color="tab:blue", linewidth=1)
    axes.axhline(0, color="gray", linewidth=0.8)
    ticks = [distance for distance, _ in bands.labels]
    for tick in ticks:
        axes.axvline(tick, color="gray", linewidth=0.5)
    axes.set_xticks(ticks, [name.replace("G", "\u0393") for _, name in bands.labels])
    axes.set_xlim(bands.distances[0], bands.distances[-1])
    axes.set_ylabel("frequency (1/cm), imaginary below 0" if bands.frequencies.min() < -1 else "frequency (1/cm)")
    with whole_file(out, ".png") as partial:
        figure.savefig(partial, dpi=150)
