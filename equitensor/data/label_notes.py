"""What a reader of labels has to say about a file: keys that it passed over, left out or did not know."""

from dataclasses import dataclass, field

import numpy as np

from equitensor.graph.labels import Label, get_label

# Columns of width 3 that are no forces, by their name in lower case.
_OTHER_COLUMNS = {
    *("momenta", "velocities", "velocity", "velo", "vel", "initial_magmoms", "magmoms", "magmom", "move_mask"),
    *("dipole", "dipoles", "displacements"),
}


@dataclass
class LabelNotes:
    """Collects notes frame by frame; `messages` makes sentences of them, each once however many frames."""

    seen: dict = field(default_factory=dict)  # name -> shape in the first frame that has it
    passed_over: dict = field(default_factory=dict)  # (label, name) -> the key that was read
    refused: dict = field(default_factory=dict)  # (label, name) -> the key of the energy
    borrowed: dict = field(default_factory=dict)  # (label, name) -> the key of the energy
    free: dict = field(default_factory=dict)  # (free energy, energy) -> frames in which they differ
    words: dict = field(default_factory=dict)  # names without a number
    gradients: dict = field(default_factory=dict)  # (label, name) -> None
    missing: dict = field(default_factory=dict)  # label -> frames without it in which something was unused
    unused: dict = field(default_factory=dict)  # (label, name) -> None

    def see(self, values: dict):
        """Remember the names of a frame and the shapes of what they hold."""
        for name, value in values.items():
            if name not in self.seen:
                self.seen[name] = _shape(value)

    def describe_keys(self) -> str:
        """The names seen in the file, those of per-atom columns with their width."""
        shapes = {name: f" {shape}" if len(shape) else "" for name, shape in self.seen.items()}
        return ", ".join(f"{name}{shape}" for name, shape in sorted(shapes.items())) or "none at all"

    def is_new(self, label: str, name: str) -> bool:
        """Whether this key has not been noted as passed over."""
        return (label, name) not in self.passed_over

    def add_passed_over(self, label: str, name: str, taken: str):
        """A key whose values differ from those that were read."""
        self.passed_over[label, name] = taken

    def add_refused(self, label: str, names: list[str], energy: str | None):
        """Keys that were not read, because the energy is of another family."""
        for name in names:
            self.refused.setdefault((label, name), energy)

    def add_borrowed(self, label: str, name: str, energy: str | None):
        """A reference's key that was read beside a plain energy."""
        if energy is not None:
            self.borrowed.setdefault((label, name), energy)

    def add_free(self, free: str, energy: str):
        """One more frame in which free energy and energy differ."""
        self.free[free, energy] = self.free.get((free, energy), 0) + 1

    def add_word(self, name: str):
        """A name of a label without a number."""
        self.words[name] = None

    def add_gradient(self, label: str, name: str):
        """A label that is stored as a gradient."""
        self.gradients[label, name] = None

    def note_unused(self, values: dict, taken: set, n: int, volume: float, missing: list[Label], columns):
        """Columns and entries that nobody used and that could be the labels that a frame lacks."""
        rest = [(name, _shape(value)) for name, value in values.items() if name not in taken and _is_numbers(value)]
        entries = [name for name, shape in rest if name not in columns and shape != (n,)]
        for each in missing:
            if each.per_atom and each.shape:  # columns of one number are legion
                fit = [name for name, shape in rest if shape == (n, *each.shape) and name.lower() not in _OTHER_COLUMNS]
                self._add_unused(each.name, fit)
            elif each.shape and (volume or not each.periodic):
                self._add_unused(each.name, [name for name in entries if np.size(values[name]) in _sizes(each)])

    def _add_unused(self, label, names):
        if names:
            self.missing[label] = self.missing.get(label, 0) + 1
            self.unused.update({(label, name): None for name in names})

    def messages(self) -> list[str]:
        """One sentence for each thing of which a user should know."""
        return [*self._families(), *self._forms(), *self._absent()]

    def _families(self):
        for label, taken, names in _grouped(self.passed_over):
            yield (
                f"{label} was read from {taken}; passed over {', '.join(names)}, whose values differ "
                f"({label}_key={names[0]} reads that instead)"
            )
        for label, energy, names in _grouped(self.refused):
            yield (
                f"{label} not read from {', '.join(names)}, because the energy is {energy}, which is of another "
                f"calculation by its name; {label}_key={names[0]} reads it"
            )
        for label, energy, names in _grouped(self.borrowed):
            yield f"{label} was read from {', '.join(names)} beside the energy from {energy}; {label}_key names another"

    def _forms(self):
        for (free, energy), count in self.free.items():
            yield (
                f"the energy that was read is {free}, of which the forces are the derivative; {energy} (at zero "
                f"smearing) differs in {count} frames, and energy_key={energy} reads that"
            )
        for label, name in self.gradients:
            yield f"{label} were read from {name} with the sign changed, as a gradient of the energy"
        for name in self.words:
            yield f"{name} has no numeric value, so it was not read as a label"

    def _absent(self):
        for missing, count in self.missing.items():
            names = ", ".join(name for each, name in self.unused if each == missing)
            sizes = " or ".join(map(str, _sizes(get_label(missing))))
            kind = f"columns of width {sizes}" if get_label(missing).per_atom else f"entries of {sizes} values"
            yield f"no {missing} in {count} frames, but {kind} that were not used: {names}; {missing}_key selects one"


def _grouped(notes):
    """(label, other, names) for entries (label, name) -> other."""
    groups: dict = {}
    for (label, name), other in notes.items():
        groups.setdefault((label, other), []).append(name)
    return [(label, other, names) for (label, other), names in groups.items()]


def _sizes(label: Label) -> list[int]:
    """How many values make one."""
    size = int(np.prod(label.shape))
    return [6, size] if label.symmetric else [size]


def _shape(value):
    try:
        return np.shape(value)
    except ValueError:  # rows of unequal length
        return ()


def _is_numbers(value) -> bool:
    try:
        return np.asarray(value).dtype.kind in "iuf"
    except ValueError:
        return False
