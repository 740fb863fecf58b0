"""Fine-tuning: what a run takes from the model file of `train.init_from`, and how that meets other data."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from ase.data import chemical_symbols

from equitensor import models
from equitensor.data import E0s, Snapshots, resolve_e0s
from equitensor.data.e0s import isolated_atoms
from equitensor.errors import InputError
from equitensor.models import D3
from equitensor.models.backbone import growing
from equitensor.models.parts import READOUT
from equitensor.training.checkpoint import saved_config
from equitensor.training.closest import begin_repulsion
from equitensor.training.config import Config
from equitensor.training.parts import E0S
from equitensor.training.refit import LeftOver, left_over
from equitensor.training.subtraction import D3Table

_ANOTHER_LEVEL = 1.0  # eV per atom
_FAR = 0.5  # eV between an E0 and the isolated atom in the data, from which it deserves a word


def with_model_of_file(config: Config, resume: Path | None = None) -> Config:
    """The config with what its model section leaves out taken from the model file, or from the run that is resumed.

    Raises InputError where the section asks for something else than the file has.
    """
    path = config.train.init_from
    if config.train.head == "new":
        _refuse_a_head_without_a_start(config)
    if path is None:
        return config
    config = _with_d3_of_file(config, resume, path)
    given = {name: getattr(config.model, name) for name in config.model.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None}
    if resume is not None:
        settings = saved_config(resume).model.settings()
    else:
        settings = dict(models.read_header(path)["settings"])
        settings.pop("num_neighbors", None)
        grows = growing(models.ARCHITECTURES.find(settings["architecture"]))
        there = {key: settings.get(key) for key in given}
        differing = [key for key, value in given.items() if (there[key] or None) != (value or None)]
        if differing := [key for key in differing if not (key in grows and there[key] and given[key] > there[key])]:
            what = ", ".join(f"model.{key} ({given[key]!r} here, {there[key]!r} there)" for key in differing)
            may = f" (only {', '.join(grows)} may be larger)" if grows else ""
            raise InputError(
                f"train.init_from: {path} differs in {what}; its weights do not fit this model{may}: leave that out, "
                "or train without train.init_from"
            )
    model = type(config.model).model_validate(settings | given)
    return config.model_copy(update={"model": model})


def _larger(settings: dict, model: models.Potential) -> dict[str, int]:
    """Those of the settings by which a model of them is larger than this one."""
    sizes = {name: settings[name] for name in growing(type(model.backbone)) if name in settings}
    return {name: size for name, size in sizes.items() if size != model.settings.get(name)}


def _refuse_a_head_without_a_start(config: Config) -> None:
    if config.train.init_from is None:
        raise InputError(
            "train.head: new re-initialises the readout of train.init_from, which is not given: give it, or "
            "leave train.head out, since without it all parts are new"
        )
    if READOUT in config.train.freeze:
        raise InputError(
            f"train.head: new re-initialises the {READOUT}, but train.freeze would not train it: leave one out"
        )


def _with_d3_of_file(config: Config, resume: Path | None, path: str) -> Config:
    """With the dispersion that was taken off the labels before, unless the file is of whole ones."""
    asked = config.data.subtract.d3
    own = saved_config(resume).data.subtract.d3 if resume is not None else models.read_header(path).get("d3")
    if own is None or asked == own:
        return config
    if "d3" in config.data.subtract.model_fields_set:
        raise InputError(
            f"train.init_from: {path} learned labels without d3 {own}, data.subtract.d3 is {asked!r} here: leave that "
            "out, or train without train.init_from"
        )
    subtract = config.data.subtract.model_copy(update={"d3": D3(own).name})
    return config.model_copy(update={"data": config.data.model_copy(update={"subtract": subtract})})


@dataclass
class Pretrained:
    """The potential of a model file, made to know the elements of the new data; what was changed, in words."""

    path: str
    model: models.Potential
    e0s_before: dict[int, float]
    notes: list[str] = field(default_factory=list)
    d3: D3Table | None = None  # of the structures, where it is taken off their labels
    new_head: bool = False  # whether the readout, and with it scale and shift, will begin anew

    @classmethod
    def load(cls, path: str, config: Config, d3: D3Table | None = None) -> "Pretrained":
        """The model of the file, enlarged to the sizes of the config."""
        model = models.load(path, dtype=getattr(torch, config.train.dtype), without_d3=True)
        e0s = dict(zip(model.elements, model.e0s.tolist(), strict=True))
        notes: list[str] = []
        if sizes := _larger(config.model.settings(), model):
            changes = ", ".join(f"{name} {size} (was {model.settings.get(name)})" for name, size in sizes.items())
            acts = "" if config.train.head == "new" else "; what is new does not act yet"
            frozen = "; what is frozen stays as it is, also where it is new" if config.train.freeze else ""
            notes.append(f"larger than the file: {changes}{acts}{frozen}")
            model = models.enlarged(model, sizes, config.seed)
        return cls(path, model, e0s, notes, d3, new_head=config.train.head == "new")

    def adapt(self, setting, snapshots: Snapshots, indices: np.ndarray, own: int, keep_e0s: bool = False) -> E0s:
        """Take in the elements of the data, and fit E0s to their energies, still with the readout of the file.

        setting: data.e0s. By default E0s are refitted to what the energies are beyond the interaction energies of the
        model (`LeftOver.fitted`), from the isolated atoms in the data where these are all there, else from the model's
        E0s. Where E0s are given, the median of what is left goes to the shift. keep_e0s: only those of new elements are
        fitted. Structures are replayed from the index `own` on. Raises InputError where these are at another level of
        theory than the new ones: one model has one set of E0s.
        """
        given = None
        if setting not in (None, "auto", "fit"):
            if keep_e0s:
                raise InputError(f"data.e0s gives E0s, but train.freeze keeps those of the model: leave out {E0S}")
            given = resolve_e0s(setting, snapshots, indices)
        new = [z for z in snapshots.elements if z not in self.e0s_before]
        # Fits pull differences from the start to one and the same: a new element must not be a level of theory away.
        start = dict.fromkeys(new, float(np.mean(list(self.e0s_before.values())))) | self.e0s_before
        if given is not None:
            start |= given.values
        elif not keep_e0s:
            start |= self._isolated(snapshots)
        self.model = models.extended(self.model, start)
        self._begin_repulsion(snapshots, indices)
        left = left_over(self.model, snapshots, indices, self.d3)
        self._refuse_two_levels(left, start, own)
        if given is not None:
            e0s = E0s(start, given.origin)
            if not self.new_head:
                self._shift(left, snapshots, indices)
        else:
            e0s = self._fitted(start, new if keep_e0s else snapshots.elements, left)
        self.model.e0s = torch.tensor([e0s.values[z] for z in self.model.elements], dtype=torch.float64)
        self._describe(e0s.values, new, snapshots)
        return e0s

    def _begin_repulsion(self, snapshots: Snapshots, indices: np.ndarray) -> None:
        """Where it did, but that of new elements where their data end, and of others not above what these data hold."""
        if self.model.repulsion is None:
            return
        before = self.model.repulsion.begins.tolist()
        begin_repulsion(self.model, snapshots, indices, known=self.e0s_before)
        after, known = self.model.repulsion.begins.tolist(), self.model.elements
        nearer = [
            f"{chemical_symbols[a]}-{chemical_symbols[b]} {after[i][j]:.2f} (was {before[i][j]:.2f})"
            for i, a in enumerate(known)
            for j, b in enumerate(known[: i + 1])
            if {a, b} <= set(self.e0s_before) and after[i][j] < before[i][j]
        ]
        if nearer:
            self.notes.append(f"the data come nearer, so the repulsion begins at {', '.join(nearer)} Angstrom")

    def _isolated(self, snapshots: Snapshots) -> dict[int, float]:
        e0s = isolated_atoms(snapshots)
        return e0s if set(e0s) >= set(snapshots.elements) else {}

    def _refuse_two_levels(self, left: LeftOver, start: dict[int, float], own: int) -> None:
        changes = np.array([self.e0s_before.get(z, np.nan) - start[z] for z in self.model.elements])
        if (apart := left.apart(changes, own)) > _ANOTHER_LEVEL:
            raise InputError(
                f"data.replay: its energies are as {self.path} predicts, those of data.train {apart:.3g} eV an atom "
                "from that: they are at two levels of theory, and one model has one set of E0s. Replay other labels "
                "(data.replay.labels: [forces])"
            )

    def _shift(self, left: LeftOver, snapshots: Snapshots, indices: np.ndarray) -> None:
        """Take the median of what is left over away; atoms with few neighbours feel only a part of the shift."""
        if len(left.energies) == 0 or left.per_atom == 0:
            return
        before, self.model.shift = self.model.shift, self.model.shift + left.per_atom
        taken = left.per_atom - left_over(self.model, snapshots, indices, self.d3).per_atom
        if taken == 0:  # atoms without neighbours, to which a shift does nothing
            self.model.shift = before
            return
        self.model.shift = before + left.per_atom**2 / taken
        self.notes.append(f"shift: {self.model.shift:.4f} eV an atom (was {before:.4f})")

    def _fitted(self, start: dict[int, float], fitted, left: LeftOver) -> E0s:
        """`start` with the E0s of these elements fitted to what is left over."""
        differences, count, open_ones = left.fitted([self.model.elements.index(z) for z in fitted])
        if not count:
            why = " (no energies here to fit them to)" if fitted else ""
            return E0s(start, f"those of {self.path}{why}")
        if open_ones:
            self.notes.append(
                f"the compositions do not determine the E0s of {_names(fitted[i] for i in open_ones)}, which are good "
                "for these compositions only"
            )
        moved = {z: start[z] + float(difference) for z, difference in zip(fitted, differences, strict=True)}
        origin = (
            f"{_names(fitted)} refitted to the difference between {count} structures and the predictions of {self.path}"
        )
        return E0s(start | moved, origin)

    def _describe(self, e0s: dict[int, float], new: list[int], snapshots: Snapshots) -> None:
        if self.new_head:
            self.notes.append(
                f"the {READOUT} is initialised as in a new model, with the scale and the shift of these data"
            )
        if new:
            self.notes.append(f"new elements: {_names(new)}; their rows start at the average of the known ones")
        if unseen := sorted(set(self.e0s_before) - set(snapshots.elements)):
            self.notes.append(f"kept, although not in the data: {_names(unseen)}")
        changes = []
        for z in snapshots.elements:
            before = f"was {self.e0s_before[z]:.4f}" if z in self.e0s_before else "new"
            changes.append(f"{chemical_symbols[z]} {e0s[z]:.4f} ({before})")
        self.notes.append("E0s in eV: " + ", ".join(changes))
        far = {z: e0s[z] - energy for z, energy in isolated_atoms(snapshots).items() if abs(e0s[z] - energy) > _FAR}
        if far:
            z = max(far, key=lambda z: abs(far[z]))
            self.notes.append(
                f"the E0s are not the isolated atoms in the data, that of {chemical_symbols[z]} lies {far[z]:.2f} eV "
                "from it; for bonds that break, data.e0s: isolated takes these"
            )


def _names(numbers) -> str:
    return ", ".join(chemical_symbols[z] for z in numbers) or "none"
