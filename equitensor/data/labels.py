"""Energy, forces and stress out of a frame's values: which names hold them, and how they become ours."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from equitensor.data import units
from equitensor.data.label_keys import LabelKey, family_rank, is_gradient, is_virial, parse
from equitensor.data.label_notes import LabelNotes
from equitensor.errors import InputError

LABELS = ("energy", "forces", "stress")


@dataclass
class LabelReader:
    """Picks energy, forces and stress out of a frame's values and converts them to eV and Angstrom.

    A key that is given must exist; "none" reads no such label. Keys that are None are found by name (see
    `label_keys`), whatever their case and plural, and those of one frame come from one family, that of the
    energy: `REF_forces` with `REF_energy`, never a plain `forces`. Beside a plain energy, labels of a
    reference that are the only ones are taken. Of an energy and a free energy that differ, the free energy is
    read, because forces are its derivative. Only numbers are labels. `messages` says what was passed over.

    Units are eV and Angstrom where None; forces default to energy_unit/length_unit, stress to
    energy_unit/length_unit^3. Names with "virial" are virials (stress = -virial/V, in energy_unit), names with
    the word "grad" or "gradient" gradients (forces = -gradient). A minus before a unit turns the sign of its label;
    before stress_unit that of virials too.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    energy_unit: str | None = None
    length_unit: str | None = None
    forces_unit: str | None = None
    stress_unit: str | None = None
    used: Counter = field(default_factory=Counter)
    notes: LabelNotes = field(default_factory=LabelNotes)

    def __post_init__(self):
        self.length = units.length_factor(self.length_unit or "Angstrom")
        self._energy = units.energy_factor(self.energy_unit or "eV")
        size = abs(self._energy)  # a minus before energy_unit is for energies alone
        self._forces = units.forces_factor(self.forces_unit) if self.forces_unit else size / self.length
        self._stress = units.stress_factor(self.stress_unit) if self.stress_unit else size / self.length**3
        self._virial = -size if self._stress > 0 else size

        named = [parse(key) for label in LABELS if (key := getattr(self, f"{label}_key"))]
        self._named_families = {key.family for key in named if key is not None}

    def read(self, values: dict, n: int, volume: float, source: str, columns=()) -> dict:
        """energy, forces (n, 3), stress (3, 3), those that are there. InputError with source and key.

        values: entries and columns by name; columns: the names that hold one row per atom; volume in
        Angstrom^3, 0 without periodicity in three directions, where a stress has no meaning.
        """
        self.notes.see(values)
        found = self._candidates(values, n, columns)
        chosen = self._choose(values, found)
        if chosen.get("energy") is not None:
            chosen["energy"] = self._force_consistent(values, chosen["energy"], found["energy"], source)
        labels = {}
        for label, key in chosen.items():
            value = self._convert(label, key, values[key], n, volume, source)
            if value is not None:
                labels[label] = value
        self._note_the_rest(values, found, chosen, labels, (n, volume, source), columns)
        return labels

    def is_named(self, label: str) -> bool:
        """Whether the label's key was given, so that its values are taken for what they are."""
        return getattr(self, f"{label}_key") is not None

    def check_found(self, path):
        """Raises InputError where a key that was given is in no frame, with the keys that are there."""
        for label in LABELS:
            key = getattr(self, f"{label}_key")
            if key and not _is_declined(key) and not self.used[label, key]:
                raise InputError(
                    f"{path}: {label}_key: no frame has {key!r}; the keys are {self.notes.describe_keys()}"
                )

    def messages(self) -> list[str]:
        """What there is to say about the labels of the frames read so far, one sentence each."""
        several = []
        for label in LABELS:
            used = {key: count for (name, key), count in self.used.items() if name == label}
            if len(used) > 1:
                counts = ", ".join(f"{key} ({count} frames)" for key, count in used.items())
                several.append(f"{label} was read from several keys: {counts}; name one with {label}_key")
        return several + self.notes.messages()

    def _candidates(self, values, n, columns) -> dict[str, list[LabelKey]]:
        """The keys of each label that may be used unasked: of known families and of the keys that were named."""
        found = {label: [] for label in LABELS}
        for name, value in values.items():
            key = parse(name)
            if key is None or value is None or _is_per_atom(key, value, n, name in columns):
                continue
            if not key.is_known and key.family not in self._named_families:
                continue
            if _kind(value) == "b":
                self.notes.add_word(name)
            else:
                found[key.label].append(key)
        return {label: sorted(keys, key=lambda key: key.rank) for label, keys in found.items()}

    def _choose(self, values, found) -> dict[str, str]:
        """The name to read for each label."""
        named = {label: getattr(self, f"{label}_key") for label in LABELS}
        family = self._family(named, values, found)
        chosen = {}
        for label in LABELS:
            if named[label]:
                if not _is_declined(named[label]) and values.get(named[label]) is not None:
                    chosen[label] = named[label]
                continue
            own = [key for key in found[label] if key.family == family]
            if not own and family == "" and found[label]:
                own = [key for key in found[label] if key.family == found[label][0].family]
                self.notes.add_borrowed(label, own[0].name, chosen.get("energy"))
            if own:
                chosen[label] = own[0].name
        for label, key in chosen.items():
            self.used[label, key] += 1
        return chosen

    def _family(self, named, values, found):
        """The family of a frame's labels: that of the energy, else of the best label that there is."""
        given = [parse(name) for name in named.values() if name and values.get(name) is not None]
        given = [key.family for key in given if key is not None]
        if named["energy"] is None and found["energy"]:
            own = [key.family for key in found["energy"]]
            return next((family for family in given if family in own), own[0])
        energy = parse(named["energy"] or "")
        if energy is not None and energy.label == "energy" and energy.is_known:
            return energy.family
        families = {key.family for label in LABELS if not named[label] for key in found[label]}
        return next((family for family in given if family in families), min(families, key=family_rank, default=""))

    def _force_consistent(self, values, name, keys, source):
        """The free energy in place of the energy of the same family, where the two differ."""
        chosen = parse(name)
        if self.energy_key or chosen is None or chosen.form == "free":
            return name
        for key in keys:
            if key.family == chosen.family and key.form == "free":
                energy, free = (float(_array(values[each], (), each, source)) for each in (name, key.name))
                if abs((energy - free) * self._energy) > 1e-6:
                    self.notes.add_free(key.name, name)
                    return key.name
        return name

    def _convert(self, label, key, value, n, volume, source):
        if label == "energy":
            return float(_array(value, (), key, source)) * self._energy
        if label == "forces":
            if is_gradient(key) and self._forces < 0:
                raise InputError(
                    f"{source}: {key} is a gradient by its name, whose sign is changed already: leave out the minus of "
                    "forces_unit, or give forces another name"
                )
            sign = -1.0 if is_gradient(key) else 1.0
            return _array(value, (n, 3), key, source) * (sign * self._forces)
        return self._tensor(value, key, source, volume) if volume else None

    def _tensor(self, value, key, source, volume):
        array = _numbers(value, key, source)
        if array.size == 6:
            xx, yy, zz, yz, xz, xy = array.ravel()
            array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        array = _array(array, (3, 3), key, source)
        if np.abs(array - array.T).max() > 0.1 * np.abs(array).max():
            raise InputError(f"{source}: {key} is not a symmetric 3x3 tensor: {array.tolist()}")
        virial = is_virial(key)
        if virial and "stress" in key.lower():
            raise InputError(f"{source}: {key} may be a stress or a virial (-V stress); call it by one of the two")
        return 0.5 * (array + array.T) * (self._virial / volume if virial else self._stress)

    def _note_the_rest(self, values, found, chosen, labels, frame, columns):
        n, volume, _ = frame
        for label in LABELS:
            if _is_declined(getattr(self, f"{label}_key") or ""):
                continue
            others = [key.name for key in found[label] if not _is_same_energy(key, chosen.get(label))]
            if label not in chosen:
                self.notes.add_refused(label, others, chosen.get("energy"))
            elif label == "forces" and is_gradient(chosen[label]):
                self.notes.add_gradient(chosen[label])
            for name in others if label in labels and not self.is_named(label) else ():
                if self.notes.is_new(label, name) and not self._agrees(label, name, values, labels[label], frame):
                    self.notes.add_passed_over(label, name, chosen[label])
        taken = {key.name for keys in found.values() for key in keys} | set(chosen.values())
        self.notes.note_unused(values, taken, n, volume, [label for label in LABELS if label not in chosen], columns)

    def _agrees(self, label, name, values, taken, frame):
        """Whether another key holds the same label, to what files round."""
        try:
            other = self._convert(label, name, values[name], *frame)
        except InputError:
            return False
        scale = np.abs(taken).max()
        return bool(
            np.abs(other - taken).max() <= {"energy": 1e-6, "forces": 1e-5 + 1e-6 * scale}.get(label, 0.01 * scale)
        )


def _is_declined(key) -> bool:
    return key.lower() == "none"


def _kind(value) -> str:
    """numpy's kind of an entry: "i", "u", "f" are numbers, "b" is a bare word of a comment line."""
    try:
        return np.asarray(value).dtype.kind
    except ValueError:  # rows of unequal length
        return "O"


def _is_per_atom(key, value, n, is_column) -> bool:
    """Energies and stresses of atoms, which have the names of those of the frame in the plural."""
    if key.label == "forces" or _kind(value) not in "iuf":
        return False
    shape = np.shape(value)
    return is_column or (shape == (n,) and n > 1 if key.label == "energy" else shape in ((n, 6), (n, 9)))


def _is_same_energy(key, chosen) -> bool:
    """Whether a key is the chosen one, or the free energy beside its energy or the other way round."""
    if chosen is None or key.name == chosen:
        return key.name == chosen
    other = parse(chosen)
    return (
        key.label == "energy"
        and other is not None
        and (key.family, "free") == (other.family, max(key.form, other.form))
    )


def _numbers(value, key, source):
    if _kind(value) not in "iuf":
        raise InputError(f"{source}: {key} = {value!r} is not a number alone; units are named by options")
    return np.array(value, dtype=np.float64, order="C")


def _array(value, shape, key, source):
    array = _numbers(value, key, source)
    if array.size != int(np.prod(shape)):
        raise InputError(f"{source}: {key} has shape {array.shape}, expected {shape or 'one number'}")
    return array.reshape(shape)
