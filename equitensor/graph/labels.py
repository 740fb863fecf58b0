"""The table of labels: what can be known of a structure, once. Files, stores, losses and tables of errors follow it.

A further label is a `Label` under `registered`, or one that an installed package brings as an entry point of the group
"equitensor.labels": its name = where it lies. Nothing else has to know its name.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from equitensor.errors import InputError
from equitensor.graph import units
from equitensor.registry import Registry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Form:
    """A way in which files hold a label, by names that match `pattern` (a regular expression, lower case).

    factor(label's unit, energy unit, length unit, volume), the units as factors to ours, turns the values into ours.
    words: of a name, by which it is this form whatever else it says; inside: the same for any part of a name.
    """

    name: str
    pattern: str
    factor: Callable[[float, float, float, float], float] = lambda unit, energy, length, volume: unit
    words: frozenset[str] = frozenset()
    inside: str = ""


@dataclass(frozen=True)
class Quantity:
    """What errors of a label are counted in: the label itself, or factor(atoms, volume) times it.

    title: the heading in tables, which leave it out where there is none. The factor takes numpy's and torch's arrays.
    """

    name: str
    unit: str
    title: str = ""
    factor: Callable | None = None


@dataclass(frozen=True)
class Label:
    """One kind of label.

    name          attribute of Structure and AtomicGraph, key of the store's records, of `loss` and of `data.<name>_key`
    per_atom      whether each atom has one, or each structure
    shape         of one atom's or structure's value: () for a number
    unit          ours; parse_unit(name of a unit, name of the option) is the factor to it
    dimension     powers of energy and length: the unit that follows from energy_unit and length_unit
    forms         how files hold it, the plainest first
    bit           its flag in the index of a store
    is_reference  the calculation that a frame's label of this kind comes from is that of all its labels
    periodic      has a meaning only with periodicity along three directions
    symmetric     a symmetric tensor, for which six values (xx, yy, zz, yz, xz, xy) will do
    moving_only   does not count on atoms that are marked fixed
    robust        in the loss errors beyond `loss.huber` times a scale count linearly: "scale", the model's, or "own",
                  three times the usual size of what the loss counts
    on_request    models compute it where asked to: model(graph, stress=True)
    output        its key in what a model returns, where that is not its name
    ase           its name among the results of ASE's calculators, "" for none; symmetric ones have six values there
    from_e0s      known from isolated atoms, as the sum of their E0s; others are then zero
    quantities    what its errors are counted in
    term          the quantity whose squares the loss takes
    weight, late  of the term; late: from `loss.late` of the run on, where there is a key loss.<name>_late
    among_many    its weight, from first to last, in sets of many elements
    same          (absolute, relative): within these two values are the same label, rounded
    unit_help     what the command line says of its unit; key_help: what it adds on its key
    """

    name: str
    per_atom: bool
    shape: tuple[int, ...]
    unit: str
    parse_unit: Callable[[str, str], float]
    dimension: tuple[int, int]
    forms: tuple[Form, ...]
    bit: int
    quantities: tuple[Quantity, ...]
    term: str
    weight: float
    late: float | None = None
    among_many: float | None = None
    is_reference: bool = False
    periodic: bool = False
    symmetric: bool = False
    moving_only: bool = False
    robust: str = ""
    on_request: bool = False
    from_e0s: bool = False
    output: str = ""
    ase: str = ""
    same: tuple[float, float] = (1e-6, 1e-6)
    unit_help: str = ""
    key_help: str = ""

    @property
    def key(self) -> str:
        """The key of a model's output that holds it."""
        return self.output or self.name

    @property
    def quantity(self) -> Quantity:
        """The one that the loss counts."""
        return next(each for each in self.quantities if each.name == self.term)

    @property
    def shown(self) -> Quantity:
        """The one that pictures show: the last of those in tables."""
        return [each for each in self.quantities if each.title][-1]

    def full_shape(self, n: int) -> tuple[int, ...]:
        """The shape of the label of a structure of n atoms."""
        return (n, *self.shape) if self.per_atom else self.shape

    def is_here(self, structure) -> bool:
        """Whether the structure carries it."""
        return getattr(structure, self.name) is not None


def _virial(unit: float, energy: float, length: float, volume: float) -> float:
    """-1/V, in the unit of energy; a minus before the unit of stress turns virials too."""
    return -energy / volume if unit > 0 else energy / volume


ENERGY = Label(
    name="energy",
    per_atom=False,
    shape=(),
    unit="eV",
    parse_unit=units.energy_factor,
    dimension=(1, 0),
    forms=(Form("", r"energ(?:y|ies)"), Form("free", r"free_?energ(?:y|ies)")),
    bit=1,
    is_reference=True,
    robust="scale",
    from_e0s=True,
    ase="energy",
    quantities=(
        Quantity("energy", "eV", "energy"),
        Quantity("energy_per_atom", "eV/atom", "energy per atom", lambda atoms, volume: 1.0 / atoms),
    ),
    term="energy_per_atom",
    weight=10.0,
    late=300.0,
    among_many=30.0,
    same=(1e-6, 0.0),
    unit_help="eV (default; Hartree for CP2K, ORCA, xtb, CREST), meV, kcal/mol, kJ/mol, Hartree, Rydberg",
)
FORCES = Label(
    name="forces",
    per_atom=True,
    shape=(3,),
    unit="eV/Angstrom",
    parse_unit=units.forces_factor,
    dimension=(1, -1),
    forms=(
        Form("", r"forces?"),
        Form(
            "gradient",
            rf"(?:energy{units.SEPARATOR}?)?grad(?:ient)?s?",
            lambda unit, energy, length, volume: -unit,
            frozenset({"grad", "grads", "gradient", "gradients"}),
        ),
    ),
    bit=2,
    moving_only=True,
    robust="scale",
    ase="forces",
    quantities=(Quantity("forces", "eV/A", "forces"),),
    term="forces",
    weight=100.0,
    same=(1e-5, 1e-6),
    unit_help="energy/length, as Hartree/Bohr; default: energy unit / length unit; for gradients put a minus, "
    "=-Hartree/Bohr",
)
STRESS = Label(
    name="stress",
    per_atom=False,
    shape=(3, 3),
    unit="eV/Angstrom^3",
    parse_unit=units.stress_factor,
    dimension=(1, -3),
    forms=(Form("", r"stress(?:es)?"), Form("virial", r"virials?", _virial, inside="virial")),
    bit=4,
    periodic=True,
    symmetric=True,
    robust="own",
    on_request=True,
    ase="stress",
    quantities=(
        Quantity("stress", "eV/A^3", "stress"),
        Quantity("virial_per_atom", "eV/atom", factor=lambda atoms, volume: volume / atoms),
    ),
    term="virial_per_atom",
    weight=100.0,
    same=(0.0, 0.01),
    key_help=", or of the virial,",
    unit_help="as GPa or eV/Angstrom^3; default: energy unit / length unit^3; =-GPa if compression is positive",
)
ISOLATED_ATOM = 8  # the bit of the store's index that no label may have
_FREE_BITS = (16, 32, 64, 128)


_OURS = (ENERGY, FORCES, STRESS)


def _problem(name: str, thing) -> str | None:
    """What is wrong with a label of another package."""
    if not isinstance(thing, Label):
        return "it is no equitensor.graph.labels.Label"
    return None if thing.name == name else f"it is the label {thing.name!r}, so its entry point needs that name"


LABELS = Registry("label", "equitensor.labels", {label.name: label for label in _OURS}, _problem)


@dataclass
class _Table:
    """The labels in use, those of installed packages too, and a number that changes with them, by which caches know
    that they are stale."""

    labels: tuple[Label, ...] = ()
    by_name: dict[str, Label] = field(default_factory=dict)
    version: int = 0

    def set(self, labels: tuple[Label, ...]) -> None:
        self.labels, self.by_name = labels, {label.name: label for label in labels}
        self.version += 1

    def filled(self) -> "_Table":
        """This, which takes the labels of packages when it is first used."""
        if not self.labels:
            self.set(_OURS)
            for name in LABELS.usable()[len(_OURS) :]:
                self._add(LABELS[name])
        return self

    def _add(self, new: Label) -> None:
        try:
            self.set((*self.labels, _with_a_bit(new, self.labels)))
        except InputError as error:
            _log.warning("of %s: %s", LABELS.package(new.name), error)


_table = _Table()


def _with_a_bit(new: Label, labels: tuple[Label, ...]) -> Label:
    """The label with a bit of the store's index that is free among these. Raises InputError where there is none."""
    taken = {each.bit for each in labels}
    bit = next((bit for bit in ((new.bit,) if new.bit else _FREE_BITS) if bit not in taken), None)
    if bit is None or any(new.name == each.name for each in labels):
        raise InputError(f"a label {new.name!r} cannot be added: its name or bit is taken")
    return replace(new, bit=bit)


def labels() -> tuple[Label, ...]:
    """All labels, in the order of tables."""
    return _table.filled().labels


def further() -> list[Label]:
    """Those that were registered here, not by an installed package."""
    return [each for each in labels() if each.name not in LABELS]


def names() -> tuple[str, ...]:
    """Their names."""
    return tuple(_table.filled().by_name)


def version() -> int:
    """Changes whenever the table does."""
    return _table.filled().version


def is_label(name: str) -> bool:
    return name in _table.filled().by_name


def get_label(name: str) -> Label:
    """The label of that name. Raises KeyError where there is none."""
    return _table.filled().by_name[name]


def any_label() -> int:
    """The bits of all labels together."""
    return sum(each.bit for each in labels())


@contextmanager
def registered(new: Label) -> Iterator[Label]:
    """The table has this label too, with a free bit of the store's index, as long as the context lasts.

    Raises InputError where its name or all bits are taken.
    """
    before = labels()
    new = _with_a_bit(new, before)
    _table.set((*before, new))
    try:
        yield new
    finally:
        _table.set(before)
