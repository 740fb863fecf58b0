"""What a name in a file says: which label it holds, of which calculation, and in which form.

`REF_energy`, `ref_forces` and `reference_virials` are labels of one family, "ref"; `energy` and `forces` are of
the family "", which names no calculation. Case, plural and the separator do not matter.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from equitensor.graph import labels as table
from equitensor.graph.units import SEPARATOR

# Words that name a reference calculation, in order of preference.
REFERENCES = (
    *("ref", "reference", "dft", "qm", "target", "true", "label", "vasp", "cp2k", "castep", "aims", "espresso", "qe"),
    *("orca", "gpaw", "psi4", "pbe", "r2scan", "scan", "ccsd", "mp2"),
)
_NEUTRAL = ("total", "tot", "scf")  # words that say nothing about the calculation
_WORDS = "|".join(sorted(REFERENCES + _NEUTRAL, key=len, reverse=True))
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class LabelKey:
    """A name that holds a label of the table.

    family: the calculation it names ("ref", "dft", ...; "" for none). form: one of the label's.
    is_known: whether the family is "" or that of a reference calculation, so that the name may be used unasked.
    """

    name: str
    label: str
    family: str
    form: str
    is_known: bool

    @property
    def rank(self) -> tuple:
        """Sorts keys of one label by preference: named references, then plain names."""
        forms = [form.name for form in table.get_label(self.label).forms]
        return (*family_rank(self.family), forms.index(self.form), len(self.name), not self.name.islower(), self.name)


def family_rank(family: str) -> tuple:
    """Sorts families by preference: the references in their order, then the one that names none."""
    ranks = [REFERENCES.index(word) for word in family.split("_") if word in REFERENCES]
    return (not family, min(ranks, default=len(REFERENCES)), family)


def parse(name: str) -> LabelKey | None:
    """What the name of an entry or column says, or None where it names no label."""
    return _parse(name, table.version())


@lru_cache(maxsize=4096)
def _parse(name: str, _version: int) -> LabelKey | None:
    if name == "E":
        return LabelKey(name, table.ENERGY.name, "", "", True)
    lower = name.lower()
    for is_known, before, after in (
        (True, rf"((?:(?:{_WORDS}){SEPARATOR}*)*)", rf"((?:{SEPARATOR}*(?:{_WORDS}))*)"),
        (False, rf"((?:.+{SEPARATOR})?)", rf"((?:{SEPARATOR}.+)?)"),
    ):
        for label in table.labels():
            for form in reversed(label.forms):  # free_energy is no energy of the family "free"
                if match := re.fullmatch(rf"{before}(?:{form.pattern}){after}", lower):
                    return LabelKey(name, label.name, _family(match[1] + "_" + match[2]), form.name, is_known)
    return None


def form_of(label: table.Label, name: str) -> table.Form:
    """The form in which a name, whatever else it says, holds a label: `dft_grad` a gradient, `forces_upgraded` not."""
    key = parse(name)
    words = {word.lower() for word in _CAMEL.findall(name)}
    for form in label.forms[1:]:
        inside = form.inside and form.inside in name.lower()
        if words & form.words or inside or (key is not None and (key.label, key.form) == (label.name, form.name)):
            return form
    return label.forms[0]


def _family(rest: str) -> str:
    words = [word for part in re.split(SEPARATOR, rest) if part for word in _known_words(part)]
    return "_".join(sorted({"ref" if word == "reference" else word for word in words} - set(_NEUTRAL)))


def _known_words(part):
    """ "dfttotal" -> dft, total; a word that is not made of known ones stays whole."""
    return re.findall(_WORDS, part) if re.fullmatch(f"(?:{_WORDS})+", part) else [part]
