"""The index of a data set: arrays that answer questions without reading its structures, in memory or mapped."""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, ISOLATED_ATOM, Label, any_label, labels

_ISOLATED_NAMES = {"isolatedatom", "isolated_atom", "isolated_atoms"}
_FAR = 10.0  # Angstrom: a periodic copy further away than this makes a single atom isolated
Row = tuple[int, int, str | None, bytes, float]


def is_isolated_atom(structure: Structure) -> bool:
    """Whether this is one atom alone: so called, without periodicity, or in a cell wider than 10 A."""
    if len(structure) != 1:
        return False
    if structure.config_type is not None and structure.config_type.lower() in _ISOLATED_NAMES:
        return True
    periods = np.linalg.norm(structure.cell[structure.pbc], axis=1)
    return bool((periods > _FAR).all())


def row_of(structure: Structure) -> Row:
    """What the index keeps of a structure: atoms, flags, group, sorted atomic numbers, energy (NaN for none)."""
    flags = sum(label.bit for label in labels() if label.is_here(structure))
    energy = getattr(structure, ENERGY.name)
    return (
        len(structure),
        flags + ISOLATED_ATOM * is_isolated_atom(structure),
        structure.group,
        np.sort(structure.z.astype(np.uint8)).tobytes(),
        np.nan if energy is None else float(energy),
    )


class Names(Sequence):
    """Many names as one text and where each ends (m,), so that a list of millions need not be made."""

    def __init__(self, text: np.ndarray, ends: np.ndarray):
        self.text, self.ends = text, ends

    @classmethod
    def of(cls, names) -> "Names":
        encoded = [name.encode() for name in names]
        text = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(text, np.cumsum([len(each) for each in encoded], dtype=np.int64))

    def __len__(self):
        return len(self.ends)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        i = range(len(self))[i]
        return self.text[self.ends[i - 1] if i else 0 : self.ends[i]].tobytes().decode()

    def __eq__(self, other):
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equal ones are no keys

    def keys(self) -> np.ndarray:
        """(m,) uint64: a digest of each, by which those of several data sets are compared."""
        digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in self)
        return np.frombuffer(b"".join(digests), "<u8")


class JoinedNames(Sequence):
    """Names out of several lists: number i is `positions[i]` in the lists one after the other."""

    def __init__(self, parts: list[Sequence[str]], positions: np.ndarray):
        self.parts, self.positions = parts, positions
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self):
        return len(self.positions)

    def __getitem__(self, i):
        position = int(self.positions[i])
        part = int(np.searchsorted(self._ends, position, side="right"))
        return self.parts[part][position - int(self._ends[part]) + len(self.parts[part])]

    __eq__ = Names.__eq__
    __hash__ = None  # type: ignore[assignment]  # equal ones are no keys


@dataclass
class Compositions:
    """Which elements how often: entries (element z, count) of m compositions; `ends` (m,) says where each ends."""

    ends: np.ndarray
    z: np.ndarray
    counts: np.ndarray

    def __len__(self):
        return len(self.ends)

    @classmethod
    def of(cls, sorted_numbers: list[bytes]) -> "Compositions":
        """From the sorted atomic numbers of each."""
        z = np.frombuffer(b"".join(sorted_numbers), np.uint8)
        lengths = np.array([len(each) for each in sorted_numbers], np.int64)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        starts = np.flatnonzero(np.diff(z, prepend=z[:1]).astype(bool) | np.diff(owner, prepend=-1).astype(bool))
        counts = np.diff(starts, append=len(z))
        entries = np.bincount(owner[starts], minlength=len(lengths))
        return cls(np.cumsum(entries), z[starts], counts.astype(np.int32))

    @classmethod
    def join(cls, parts: list["Compositions"]) -> "Compositions":
        """One after the other; those that occur in two parts occur twice."""
        before = np.cumsum([0, *(len(part.z) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, before, strict=False)]
        return cls(*(np.concatenate(x) for x in (ends, [p.z for p in parts], [p.counts for p in parts])))

    def table(self, which: np.ndarray, elements: Sequence[int]) -> np.ndarray:
        """(len(which), elements) int64: the counts of `elements` in the compositions at these indices."""
        starts, sizes = self._spans(which)
        row = np.repeat(np.arange(len(which)), sizes)
        entry = np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        column = np.full(256, -1)
        column[list(elements)] = np.arange(len(elements))
        counts = np.zeros((len(which), len(elements)), np.int64)
        known = column[self.z[entry]] >= 0
        counts[row[known], column[self.z[entry[known]]]] = self.counts[entry[known]]
        return counts

    def elements(self, number: int) -> set[int]:
        """The elements of one."""
        return set(self.z[self.ends[number - 1] if number else 0 : self.ends[number]].tolist())

    def holding(self, element: int) -> np.ndarray:
        """(m,) bool: those with this element."""
        return self._any(self.z == element)

    def beyond(self, known) -> np.ndarray:
        """(m,) bool: those with an element that is not among the `known`."""
        return self._any(~np.isin(self.z, list(known)))

    def _any(self, entries) -> np.ndarray:
        sums = np.concatenate([[0], np.cumsum(entries)])
        ends = np.concatenate([[0], self.ends])
        return sums[ends[1:]] > sums[ends[:-1]]

    def _spans(self, which):
        starts = np.where(which > 0, self.ends[which - 1], 0)
        return starts, self.ends[which] - starts


@dataclass
class Index:
    """Per structure: atoms, labels as the table's bits (energy 1, forces 2, stress 4), isolated atom 8, group number.

    `group` is -1 where a structure belongs to no trajectory; otherwise an index into `group_names` (and their
    digests, `group_keys`). composition: number among the `compositions`; energy: eV, NaN for none. The last three are
    None for a store that was written before it had them: then structures have to be read.
    """

    atoms: np.ndarray
    flags: np.ndarray
    group: np.ndarray
    group_names: Sequence[str]
    group_keys: np.ndarray
    elements: tuple[int, ...]
    composition: np.ndarray | None
    compositions: Compositions | None
    energy: np.ndarray | None

    def __len__(self):
        return len(self.atoms)

    def has(self, label: Label | int) -> np.ndarray:
        """(n,) bool: the structures that carry a label, or any of these bits."""
        return (self.flags & (label if isinstance(label, int) else label.bit)) != 0

    @property
    def has_any(self) -> np.ndarray:
        """(n,) bool: the structures that carry some label."""
        return self.has(any_label())

    @property
    def isolated(self) -> np.ndarray:
        """(n,) bool: the isolated atoms."""
        return self.has(ISOLATED_ATOM)

    @classmethod
    def join(cls, indices: list["Index"]) -> "Index":
        """One index for several data sets, one after the other; groups of the same name become one group."""
        keys = np.concatenate([x.group_keys for x in indices])
        _, first, same = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)  # groups in the order in which they are met
        joined_group = np.append(np.argsort(order)[same], -1).astype(np.int32)
        groups, before = [], 0
        for each in indices:
            groups.append(joined_group[np.where(each.group < 0, -1, each.group + before)])
            before += len(each.group_keys)
        described = all(x.composition is not None for x in indices)
        compositions = [x.compositions for x in indices if x.compositions is not None]
        return cls(
            atoms=np.concatenate([x.atoms for x in indices]),
            flags=np.concatenate([x.flags for x in indices]),
            group=np.concatenate(groups),
            group_names=JoinedNames([x.group_names for x in indices], first[order]),
            group_keys=keys[first[order]],
            elements=tuple(sorted(set().union(*(x.elements for x in indices)))),
            composition=_one_after_the_other(indices) if described else None,
            compositions=Compositions.join(compositions) if described else None,
            energy=np.concatenate([x.energy for x in indices]) if described else None,
        )


class LazyIndex(Index):
    """An index of `count` structures whose fields are loaded when they are first asked for: `load(name)`."""

    def __init__(self, count: int, elements: tuple[int, ...], load: Callable):
        self.elements, self._count, self._load = elements, count, load

    def __len__(self):
        return self._count

    def __getattr__(self, name):
        if name not in Index.__dataclass_fields__:
            raise AttributeError(name)
        value = self._load(name)
        setattr(self, name, value)
        return value


def _one_after_the_other(indices) -> np.ndarray:
    before = np.cumsum([0, *(len(x.compositions) for x in indices)]).astype(np.int32)
    return np.concatenate([x.composition + start for x, start in zip(indices, before, strict=False)])


ROW = np.dtype(
    [("atoms", "<i4"), ("flags", "|u1"), ("group", "<i4"), ("composition", "<i4"), (ENERGY.name, "<f8")], align=False
)


@dataclass
class IndexBuilder:
    """Collects rows of the index, and the names of groups and compositions that they number."""

    columns: dict[str, array] = field(default_factory=lambda: {n: array(ROW[n].char) for n in ROW.names or ()})
    names: dict[str, int] = field(default_factory=dict)
    compositions: dict[bytes, int] = field(default_factory=dict)

    def __len__(self):
        return len(self.columns["atoms"])

    def add(self, row: Row):
        """One more structure."""
        atoms, flags, group, numbers, energy = row
        columns = self.columns
        columns["atoms"].append(atoms)
        columns["flags"].append(flags)
        columns["group"].append(-1 if group is None else self.names.setdefault(group, len(self.names)))
        columns["composition"].append(self.compositions.setdefault(numbers, len(self.compositions)))
        columns[ENERGY.name].append(energy)

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns so far."""
        return {name: np.array(column, ROW[name]) for name, column in self.columns.items()}

    def build(self) -> Index:
        names = list(self.names)
        return Index(
            **self.arrays(),
            group_names=names,
            group_keys=Names.of(names).keys(),
            elements=elements_of(self.compositions),
            compositions=Compositions.of(list(self.compositions)),
        )


def elements_of(sorted_numbers) -> tuple[int, ...]:
    """The elements of all compositions together, ascending."""
    elements: set[int] = set()
    for numbers in sorted_numbers:
        elements.update(numbers)
    return tuple(sorted(elements))
