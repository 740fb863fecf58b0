"""What a name in a file says: which label it holds, of which calculation, and in which form.

`REF_energy`, `ref_forces` and `reference_virials` are labels of one family, "ref"; `energy` and `forces` are of
the family "", which names no calculation. Case, plural and the separator do not matter.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

# Words that name a reference calculation, in order of preference.
REFERENCES = (
    *("ref", "reference", "dft", "qm", "target", "true", "label", "vasp", "cp2k", "castep", "aims", "espresso", "qe"),
    *("orca", "gpaw", "psi4", "pbe", "r2scan", "scan", "ccsd", "mp2"),
)
_NEUTRAL = ("total", "tot", "scf")  # words that say nothing about the calculation
_SEPARATOR = r"[_\-. :]"
_CORES = {  # (label, form) -> what remains of the name in lower case
    ("energy", "free"): r"free_?energ(?:y|ies)",
    ("energy", ""): r"energ(?:y|ies)",
    ("forces", "gradient"): rf"(?:energy{_SEPARATOR}?)?grad(?:ient)?s?",
    ("forces", ""): r"forces?",
    ("stress", "virial"): r"virials?",
    ("stress", ""): r"stress(?:es)?",
}
_FORMS = ("", "gradient", "virial", "free")  # in order of preference
_WORDS = "|".join(sorted(REFERENCES + _NEUTRAL, key=len, reverse=True))
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_GRADIENTS = {"grad", "grads", "gradient", "gradients"}


@dataclass(frozen=True)
class LabelKey:
    """A name that holds a label: "energy", "forces" or "stress".

    family: the calculation it names ("ref", "dft", ...; "" for none). form: "" or "free" (energy), "gradient"
    (forces with the sign changed), "virial" (-V stress). is_known: whether the family is "" or that of a
    reference calculation, so that the name may be used unasked.
    """

    name: str
    label: str
    family: str
    form: str
    is_known: bool

    @property
    def rank(self) -> tuple:
        """Sorts keys of one label by preference: named references, then plain names."""
        return (*family_rank(self.family), _FORMS.index(self.form), len(self.name), not self.name.islower(), self.name)


def family_rank(family: str) -> tuple:
    """Sorts families by preference: the references in their order, then the one that names none."""
    ranks = [REFERENCES.index(word) for word in family.split("_") if word in REFERENCES]
    return (not family, min(ranks, default=len(REFERENCES)), family)


@lru_cache(maxsize=4096)
def parse(name: str) -> LabelKey | None:
    """What the name of an entry or column says, or None where it names no label."""
    if name == "E":
        return LabelKey(name, "energy", "", "", True)
    lower = name.lower()
    for is_known, before, after in (
        (True, rf"((?:(?:{_WORDS}){_SEPARATOR}*)*)", rf"((?:{_SEPARATOR}*(?:{_WORDS}))*)"),
        (False, rf"((?:.+{_SEPARATOR})?)", rf"((?:{_SEPARATOR}.+)?)"),
    ):
        for (label, form), core in _CORES.items():
            if match := re.fullmatch(rf"{before}(?:{core}){after}", lower):
                return LabelKey(name, label, _family(match[1] + "_" + match[2]), form, is_known)
    return None


def is_gradient(name: str) -> bool:
    """Whether a name speaks of a gradient, as a word of its own: `dft_grad`, not `forces_upgraded`."""
    key = parse(name)
    words = {word.lower() for word in _CAMEL.findall(name)}
    return bool(words & _GRADIENTS) or (key is not None and key.form == "gradient")


def is_virial(name: str) -> bool:
    """Whether a name speaks of a virial."""
    return "virial" in name.lower()


def _family(rest: str) -> str:
    words = [word for part in re.split(_SEPARATOR, rest) if part for word in _known_words(part)]
    return "_".join(sorted({"ref" if word == "reference" else word for word in words} - set(_NEUTRAL)))


def _known_words(part):
    """ "dfttotal" -> dft, total; a word that is not made of known ones stays whole."""
    return re.findall(_WORDS, part) if re.fullmatch(f"(?:{_WORDS})+", part) else [part]
