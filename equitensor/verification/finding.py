"""What a check finds: deviations and their bounds, and a verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


class NotApplicable(Exception):
    """A check says nothing of this calculator and structure; the message is the reason."""


class Refusal(Exception):
    """The calculator raised an error, whose kind and first line are the message."""


class Deviation(NamedTuple):
    """How far something is from what it must be, how far it may be, in which unit, and where it is so."""

    name: str
    value: float
    bound: float
    unit: str
    where: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.value <= self.bound)  # not so for nan

    @property
    def excess(self) -> float:
        """value / bound; infinite for nan."""
        if not self.value >= 0:
            return inf
        return self.value / self.bound if self.bound else (inf if self.value else 0.0)

    def as_dict(self) -> dict:
        """For JSON, which has neither nan nor infinity."""
        value = float(self.value) if abs(self.value) < inf else str(self.value)
        return {**self._asdict(), "value": value, "bound": float(self.bound), "passed": self.passed}


@dataclass(frozen=True)
class Finding:
    """One line of the table: the check, its verdict, the worst of each of its quantities, and why if there is none."""

    check: str
    verdict: str
    quantities: tuple[Deviation, ...] = ()
    reason: str = ""

    @property
    def worst(self) -> Deviation | None:
        """The quantity nearest to its bound, or farthest beyond it."""
        return max(self.quantities, key=lambda quantity: quantity.excess, default=None)

    def as_dict(self) -> dict:
        """For JSON."""
        fields = {"check": self.check, "verdict": self.verdict}
        if self.worst is not None:
            fields |= {name: self.worst.as_dict()[name] for name in ("value", "bound", "unit", "where")}
            fields["quantity"] = self.worst.name
        return fields | {"reason": self.reason, "quantities": [quantity.as_dict() for quantity in self.quantities]}


def judged(check: str, quantities: Iterable[Deviation]) -> Finding:
    """The verdict on a check: passed where each quantity is within its bound."""
    worst: dict[str, Deviation] = {}
    for quantity in quantities:
        kept = worst.get(quantity.name)
        if kept is None or quantity.excess > kept.excess:
            worst[quantity.name] = quantity
    if not worst:
        return Finding(check, NOT_APPLICABLE, reason="there was nothing to compare")
    passed = all(quantity.passed for quantity in worst.values())
    return Finding(check, PASSED if passed else FAILED, tuple(worst.values()))
