"""Labels that are zero in every frame of a file: a reader or a script put them there, nobody computed them."""

import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from equitensor.graph import Structure
from equitensor.graph.labels import names

_log = logging.getLogger(__name__)


def without_zero_labels(
    structures: Iterable[Structure], path, is_named: Callable[[str], bool] = lambda label: False
) -> Iterator[Structure]:
    """The same structures, without labels (energies, forces ...) that are zero in all of them.

    A label whose key was named (`is_named("forces")`) is kept. Single atoms, whose forces are zero and whose
    energy may be the zero of the scale, say nothing either way. Structures are held back only while some
    label has been nothing but zero; what is left out is said in one warning.
    """
    zero = {label: 0 for label in names() if not is_named(label)}
    waiting = []
    for structure in structures:
        waiting.append(structure)
        for label in list(zero):
            value = getattr(structure, label)
            if value is None or len(structure) == 1:
                continue
            if np.any(value):
                del zero[label]
            else:
                zero[label] += 1
        if not any(zero.values()):
            yield from waiting
            waiting = []
    invented = {label: count for label, count in zero.items() if count}
    for label, count in invented.items():
        _log.warning(
            "%s: %s is zero in all %d frames, so it is no label and is left out; %s_key=NAME reads it anyway",
            *(path, label, count, label),
        )
    for structure in waiting:
        yield structure.replace(**dict.fromkeys(invented)) if len(structure) > 1 else structure
