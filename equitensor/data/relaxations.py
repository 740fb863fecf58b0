"""Where relaxations begin and end: IS2RE records of OC20, or trajectories whose frames are in groups."""

from collections.abc import Iterator

import numpy as np

from equitensor.data.sequence import Snapshots
from equitensor.data.snapshots import open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure
from equitensor.graph.labels import ENERGY, names

_UPHILL = 0.1  # eV by which the last frame of a relaxation may lie above another


class Relaxations:
    """Pairs of structures: as a relaxation begins, and as it ended, whose energy is the label.

    `begins` are snapshots and `indices` those of the first structures. Of a group that has several structures (a
    trajectory, or stores of initial and relaxed structures one after the other) they are the first and the last; of
    OC20's IS2RE files each record has both.
    """

    def __init__(self, path, **options):
        """path, options: as for `open_snapshots`. Raises InputError where the data do not say how relaxations end."""
        self.begins: Snapshots = open_snapshots(path, unlabelled=True, **options)
        group = self.begins.index.group
        order = np.argsort(group, kind="stable")
        frames = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
        self._frames = {int(each[0]): each for each in frames if len(each) > 1 and group[each[0]] >= 0}
        if self._frames:
            self._ends, self.indices = self.begins, np.array(sorted(self._frames))
            return
        try:
            self._ends = open_snapshots(path, unlabelled=True, **(options | {"relaxed": True}))
        except InputError:  # these data have no relaxed structures
            raise InputError(
                f"{path}: nothing says how relaxations ended: that takes IS2RE files of OC20, or trajectories whose "
                f"frames are in groups (group_key says by what, group_key=file by file)"
            ) from None
        self.indices = np.arange(len(self.begins))

    def pairs(self, indices) -> Iterator[tuple[Structure, Structure]]:
        """(structure to begin with, the same with the energy of the relaxed one as its only label), for some of
        `indices`. Raises InputError where frames are not in the order of a relaxation."""
        for i in map(int, indices):
            begin, end = self.begins[i], self._end(i)
            if begin.z.tolist() != end.z.tolist():
                raise InputError(f"{begin.source}: the relaxed structure, {end.source}, has other atoms")
            bare = begin.replace(**dict.fromkeys(names()))
            yield bare, bare.replace(**{ENERGY.name: getattr(end, ENERGY.name)})

    def _end(self, i: int) -> Structure:
        if i not in self._frames:
            return self._ends[i]
        *before, end = (self._ends[int(k)] for k in self._frames[i])
        known = [frame for frame in before if frame.energy is not None]
        lowest = min(known, key=lambda frame: frame.energy, default=end)
        if end.energy is not None and lowest.energy < end.energy - _UPHILL:
            raise InputError(
                f"{end.source}: the last frame of its group {end.group} lies {end.energy - lowest.energy:.3g} eV above "
                f"{lowest.source}, so the frames are not in the order of a relaxation, or this is none"
            )
        return end
