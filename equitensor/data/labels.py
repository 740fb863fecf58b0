"""Labels out of a frame's values: which names hold them, and how they become ours."""

import re
from collections import Counter

import numpy as np

from equitensor.data.label_keys import LabelKey, family_rank, form_of, parse
from equitensor.data.label_notes import LabelNotes
from equitensor.errors import InputError, NoLabelsError
from equitensor.graph import units
from equitensor.graph.labels import Label, get_label, labels


class LabelReader:
    """Picks the labels of the table out of a frame's values and converts them to our units.

    Options: <label>_key and <label>_unit of every label, as energy_key, and length_unit; None where not given.

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

    def __init__(self, length_unit: str | None = None, **options: str | None):
        self.labels = {each.name: each for each in labels()}
        self.keys = {name: options.pop(f"{name}_key", None) for name in self.labels}
        named_units = {name: options.pop(f"{name}_unit", None) for name in self.labels}
        if options:
            raise TypeError(f"no labels have the options {', '.join(options)}")
        self.used: Counter = Counter()
        self.notes = LabelNotes()
        self.length = units.length_factor(length_unit or "Angstrom")
        # A minus before energy_unit is for energies alone.
        self._energy = abs(units.energy_factor(named_units[_reference()] or "eV"))
        self._units = {name: self._unit(each, named_units[name]) for name, each in self.labels.items()}
        named = [parse(key) for key in self.keys.values() if key]
        self._named_families = {key.family for key in named if key is not None}

    def _unit(self, label: Label, name: str | None) -> float:
        if name:
            return label.parse_unit(name, f"{label.name}_unit")
        energy, length = label.dimension
        return self._energy**energy * self.length**length

    def read(self, values: dict, n: int, volume: float, source: str, columns=()) -> dict:
        """The labels that are there, by name, in their shapes. InputError with source and key.

        values: entries and columns by name; columns: the names that hold one row per atom; volume in
        Angstrom^3, 0 without periodicity in three directions, where a stress has no meaning.
        """
        self.notes.see(values)
        candidates = self._candidates(values, n, columns)
        chosen = self._choose(values, candidates)
        self._take_free_energy(values, chosen, candidates, source)
        labels = {}
        for label, key in chosen.items():
            value = self._convert(label, key, values[key], n, volume, source)
            if value is not None:
                labels[label] = value
        self._note_the_rest(values, candidates, chosen, labels, (n, volume, source), columns)
        return labels

    def is_named(self, label: str) -> bool:
        """Whether the label's key was given, so that its values are taken for what they are."""
        return self.keys[label] is not None

    def check_found(self, path):
        """Raises InputError where a key that was given is in no frame, with the keys that are there."""
        for label, key in self.keys.items():
            if key and not _is_declined(key) and not self.used[label, key]:
                raise InputError(
                    f"{path}: {label}_key: no frame has {key!r}; the keys are {self.notes.describe_keys()}"
                )

    def nothing_found(self, path) -> NoLabelsError:
        """The error of a file without labels: what a user can do with the keys that it has, if it has any."""
        *most, last = self.labels
        text = f"{path}: no {', '.join(most)} or {last} found"
        if self.notes.seen:
            options = [f"{label}_key" for label in self.labels]
            text += (
                f". The keys in this file are {self.notes.describe_keys()}. Name the right ones with "
                f"{', '.join(options)} (--{options[0].replace('_', '-')} NAME on the command line, data.{options[0]} "
                "in a config)"
            )
        return NoLabelsError(text)

    def messages(self) -> list[str]:
        """What there is to say about the labels of the frames read so far, one sentence each."""
        several = []
        for label in self.labels:
            used = {key: count for (name, key), count in self.used.items() if name == label}
            if len(used) > 1:
                counts = ", ".join(f"{key} ({count} frames)" for key, count in used.items())
                several.append(f"{label} was read from several keys: {counts}; name one with {label}_key")
        return several + self.notes.messages()

    def _candidates(self, values, n, columns) -> dict[str, list[LabelKey]]:
        """The keys of each label that may be used unasked: of known families and of the keys that were named."""
        candidates = {label: [] for label in self.labels}
        for name, value in values.items():
            key = parse(name)
            if key is None or value is None or _is_per_atom(key, value, n, name in columns):
                continue
            if not key.is_known and key.family not in self._named_families:
                continue
            if _kind(value) == "b":
                self.notes.add_word(name)
            else:
                candidates[key.label].append(key)
        return {label: sorted(keys, key=lambda key: key.rank) for label, keys in candidates.items()}

    def _choose(self, values, candidates) -> dict[str, str]:
        """The name to read for each label."""
        named = self.keys
        family = self._family(named, values, candidates)
        chosen: dict[str, str] = {}
        for label in self.labels:
            if name := named[label]:
                if not _is_declined(name) and values.get(name) is not None:
                    chosen[label] = name
                continue
            own = [key for key in candidates[label] if key.family == family]
            if not own and family == "" and candidates[label]:
                own = [key for key in candidates[label] if key.family == candidates[label][0].family]
                self.notes.add_borrowed(label, own[0].name, chosen.get(_reference()))
            if own:
                chosen[label] = own[0].name
        for label, key in chosen.items():
            self.used[label, key] += 1
        return chosen

    def _family(self, named, values, candidates):
        """The family of a frame's labels: that of the energy, else of the best label that there is."""
        reference = _reference()
        given = [parse(name) for name in named.values() if name and values.get(name) is not None]
        given = [key.family for key in given if key is not None]
        if named[reference] is None and candidates[reference]:
            own = [key.family for key in candidates[reference]]
            return next((family for family in given if family in own), own[0])
        key = parse(named[reference] or "")
        if key is not None and key.label == reference and key.is_known:
            return key.family
        families = {key.family for label in self.labels if not named[label] for key in candidates[label]}
        return next((family for family in given if family in families), min(families, key=family_rank, default=""))

    def _take_free_energy(self, values, chosen, candidates, source):
        """The free energy in place of the energy of the same family, where the two differ: forces derive from it."""
        energy = _reference()
        name = chosen.get(energy)
        key = None if name is None or self.keys[energy] else parse(name)
        if key is None or key.form == "free":
            return
        for other in candidates[energy]:
            if other.family == key.family and other.form == "free":
                plain, free = (float(_array(values[each], (), each, source)) for each in (name, other.name))
                if abs((plain - free) * self._energy) > 1e-6:
                    self.notes.add_free(other.name, name)
                    chosen[energy] = other.name
                    return

    def _convert(self, name, key, value, n, volume, source):
        """The value in our unit, None where it has no meaning."""
        label = self.labels[name]
        if label.periodic and not volume:
            return None
        if label.symmetric:
            value = _symmetric(value, key, source)
        array = _array(value, label.full_shape(n), key, source)
        form = form_of(label, key)
        if form.name == "gradient" and self._units[name] < 0:
            raise InputError(
                f"{source}: {key} is a gradient by its name, whose sign is changed already: leave out the minus of "
                f"{name}_unit, or give {name} another name"
            )
        if form.name == "virial" and re.search(label.forms[0].pattern, key.lower()):
            raise InputError(f"{source}: {key} may be a stress or a virial (-V stress); call it by one of the two")
        array = array * form.factor(self._units[name], self._energy, self.length, volume)
        return array if array.ndim else float(array)

    def _note_the_rest(self, values, candidates, chosen, labels, frame, columns):
        n, volume, _ = frame
        for label in self.labels:
            if _is_declined(self.keys[label] or ""):
                continue
            others = [key.name for key in candidates[label] if not _is_same_energy(key, chosen.get(label))]
            if label not in chosen:
                self.notes.add_refused(label, others, chosen.get(_reference()))
            elif form_of(self.labels[label], chosen[label]).name == "gradient":
                self.notes.add_gradient(label, chosen[label])
            for name in others if label in labels and not self.is_named(label) else ():
                if self.notes.is_new(label, name) and not self._agrees(label, name, values, labels[label], frame):
                    self.notes.add_passed_over(label, name, chosen[label])
        taken = {key.name for keys in candidates.values() for key in keys} | set(chosen.values())
        self.notes.note_unused(
            values, taken, n, volume, [each for name, each in self.labels.items() if name not in chosen], columns
        )

    def _agrees(self, label, name, values, taken, frame):
        """Whether another key holds the same label, to what files round."""
        try:
            other = self._convert(label, name, values[name], *frame)
        except InputError:
            return False
        absolute, relative = self.labels[label].same
        return bool(np.abs(other - taken).max() <= absolute + relative * np.abs(taken).max())


def _reference() -> str:
    """The label by whose calculation the others are chosen: the energy."""
    return next(each.name for each in labels() if each.is_reference)


def _is_declined(key) -> bool:
    return key.lower() == "none"


def _kind(value) -> str:
    """numpy's kind of an entry: "i", "u", "f" are numbers, "b" is a bare word of a comment line."""
    try:
        return np.asarray(value).dtype.kind
    except ValueError:  # rows of unequal length
        return "O"


def _is_per_atom(key, value, n, is_column) -> bool:
    """Labels of structures given for atoms, which have the names of those of the frame in the plural."""
    of = get_label(key.label)
    if of.per_atom or _kind(value) not in "iuf":
        return False
    shape = np.shape(value)
    widths = {int(np.prod(of.shape)), 6 if of.symmetric else 0}
    return is_column or (shape == (n,) and n > 1 if not of.shape else shape in [(n, width) for width in widths])


def _is_same_energy(key, chosen) -> bool:
    """Whether a key is the chosen one, or the free energy beside its energy or the other way round."""
    if chosen is None or key.name == chosen:
        return key.name == chosen
    other = parse(chosen)
    return (
        key.label == _reference()
        and other is not None
        and (key.family, "free") == (other.family, max(key.form, other.form))
    )


def _numbers(value, key, source):
    if _kind(value) not in "iuf":
        raise InputError(f"{source}: {key} = {value!r} is not a number alone; units are named by options")
    return np.array(value, dtype=np.float64, order="C")


def _symmetric(value, key, source):
    """(3, 3) of six values (xx, yy, zz, yz, xz, xy) or nine that are symmetric to within a tenth."""
    array = _numbers(value, key, source)
    if array.size == 6:
        xx, yy, zz, yz, xz, xy = array.ravel()
        array = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    array = _array(array, (3, 3), key, source)
    if np.abs(array - array.T).max() > 0.1 * np.abs(array).max():
        raise InputError(f"{source}: {key} is not a symmetric 3x3 tensor: {array.tolist()}")
    return 0.5 * (array + array.T)


def _array(value, shape, key, source):
    array = _numbers(value, key, source)
    if array.size != int(np.prod(shape)):
        raise InputError(f"{source}: {key} has shape {array.shape}, expected {shape or 'one number'}")
    return array.reshape(shape)
