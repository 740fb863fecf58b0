"""Everything a run needs before its first step: data, split, E0s, model, optimiser."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from ase.data import chemical_symbols
from rich.console import Console
from rich.markup import escape

from equitensor import models
from equitensor.data import (
    Coverage,
    E0s,
    GraphDataset,
    Snapshots,
    coverage,
    coverage_table,
    open_snapshots,
    resolve_e0s,
    split_by_group,
    split_notes,
    usable,
)
from equitensor.data.absurd_labels import LabelSample
from equitensor.data.replay import replay
from equitensor.data.sequence import Joined, Weighted
from equitensor.errors import InputError
from equitensor.models import D3
from equitensor.models.adaptation import begin_readout
from equitensor.models.similar_elements import train_alike
from equitensor.training.batches import BatchLimits, default_limits
from equitensor.training.closest import begin_repulsion
from equitensor.training.config import Config
from equitensor.training.evaluation import with_known_elements
from equitensor.training.fingerprint import compare, fingerprint
from equitensor.training.fixed_atoms import FixedForces
from equitensor.training.label_checks import check_labels
from equitensor.training.limits import limits
from equitensor.training.many_elements import for_many_elements
from equitensor.training.origin import Origin
from equitensor.training.parts import E0S, freeze
from equitensor.training.pretrained import Pretrained
from equitensor.training.sizes import sizes
from equitensor.training.statistics import statistics
from equitensor.training.subtraction import D3Table

TRAINED = ("train", "replay")  # names of the parts that are not held out
MOST_TRAIN = 500  # structures of each of these that the closing table is computed on


@dataclass
class RunData:
    """The parts of a run's data: name -> (snapshots, indices); `tests` maps names to snapshots.

    `config` is that of the run, with what it left open chosen for these data.
    `train` holds `replayed` structures of earlier data behind its own. `batches_a_step` batches within `batch_limits`
    make a step; `sizes` are the edges of each training structure (atoms, where edges do not limit a batch). `labels`
    are those of the training data; `trained` names the labels that the loss counts and the training data hold; `limits`
    say where their errors begin to count linearly (`build_model` knows); `d3` is what was taken off the
    labels in the graphs, by name of the part.
    """

    config: Config
    train: GraphDataset
    valid: GraphDataset | None
    e0s: E0s
    batch_limits: BatchLimits
    batches_a_step: int
    sizes: np.ndarray
    labels: LabelSample
    trained: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    tests: dict[str, Snapshots] = field(default_factory=dict)
    replayed: int = 0
    pretrained: Pretrained | None = None
    d3: dict[str, D3Table] = field(default_factory=dict)

    def parts(self):
        """(name, snapshots, indices) of everything whose errors are reported at the end."""
        own = len(self.train) - self.replayed
        yield "train", self.train.snapshots, self.train.indices[:own]
        if self.replayed:
            yield "replay", self.train.snapshots, self.train.indices[own:]
        if self.valid is not None:
            yield "valid", self.valid.snapshots, self.valid.indices
        for name, snapshots in self.tests.items():
            yield name, snapshots, np.arange(len(snapshots))


def open_data(
    config: Config, console: Console, origin: Origin | None = None, run_folder=None, ranks: int = 1
) -> RunData:
    """Open, split and count; print the coverage of every part.

    `origin` is that of the run in `run_folder` which is resumed: its split, E0s and batches are kept. Raises
    InputError where the data are not those that it began with.
    """
    data, cutoff, pretrained = config.data, config.model.cutoff, None
    options = data.reading_options()
    own = open_snapshots(plain_source(data.train), **options)
    held_out = own if data.valid is None else open_snapshots(plain_source(data.valid), **options)
    tests = _tests(data, options)
    config = for_many_elements(config, own.elements, console) if origin is None else config
    if origin is not None:
        snapshots = with_replay(config, own, origin.train[origin.train < len(own)])
        train, valid, e0s = _kept(origin, snapshots, held_out, run_folder)
        d3 = _d3(config, {"train": (snapshots, train), "valid": (held_out, valid)}, tests, console)
    else:
        train, valid = _parted(config, own, held_out)
        snapshots = with_replay(config, own, train)
        train = np.concatenate([train, np.arange(len(own), len(snapshots))])
        d3 = _d3(config, {"train": (snapshots, train), "valid": (held_out, valid)}, tests, console)
        if config.train.init_from is not None:
            pretrained = Pretrained.load(config.train.init_from, config, d3.get("train"))
            e0s = pretrained.adapt(data.e0s, snapshots, train, len(own), keep_e0s=E0S in config.train.freeze)
        else:
            if E0S in config.train.freeze:
                raise InputError("train.freeze: e0s are those of train.init_from, which is not given")
            e0s = resolve_e0s(data.e0s, snapshots, train)
    train_set = GraphDataset(snapshots, train, cutoff, left=_learned(data, _left(d3, "train")))
    batch_limits, sizes = _batches(config, train_set, origin)
    valid_set = GraphDataset(held_out, valid, cutoff, left=_left(d3, "valid")) if len(valid) else None
    labels = LabelSample.of(snapshots, train, e0s.values)
    together = config.train.accumulate * ranks if origin is None else origin.batches_a_step
    run = RunData(config, train_set, valid_set, e0s, batch_limits, together, sizes, labels, tests=tests, d3=d3)
    run.replayed, run.pretrained = int(np.sum(train >= len(own))), pretrained
    _report(run, console)
    _check_elements(run)
    run.trained = check_labels(run.train, config.loss, console)
    _say_batches(run, ranks, console)
    return run


def _batches(config: Config, train: GraphDataset, origin: Origin | None) -> tuple[BatchLimits, np.ndarray]:
    """The limits of a batch, and the sizes that count for them."""
    given = BatchLimits(config.train.batch_size, config.train.batch_edges) if origin is None else origin.batch_limits
    if given.structures is not None and given.edges is None:
        return given, train.num_atoms.astype(np.int64)
    edges = sizes(train)
    return (default_limits(edges) if given.edges is None else given), edges


def _d3(config: Config, parts: dict, tests: dict[str, Snapshots], console: Console) -> dict[str, D3Table]:
    """That of every structure whose labels it is taken off, or whose errors are reported, by part."""
    if config.data.subtract.d3 is None:
        return {}
    d3 = D3(config.data.subtract.d3)
    parts = parts | {name: (snapshots, np.arange(len(snapshots))) for name, snapshots in tests.items()}
    tables = {name: D3Table.of(d3, part[0], part[1], console) for name, part in parts.items()}
    return tables | {"replay": tables["train"]}


def _left(d3: dict[str, D3Table], name: str):
    """What makes labels those that are learned; None where nothing is taken off them."""
    return d3[name].left if d3 else None


def _learned(data, left):
    """What makes the labels of training structures those that are learned."""
    return FixedForces(left) if data.fixed_forces else left


def _say_batches(run: RunData, ranks: int, console: Console) -> None:
    """Edges a batch, where these limit it, and batches a step, where there are several."""
    limits, together = run.batch_limits, run.batches_a_step
    if limits.edges is not None:
        each = 1 / np.minimum(1.0, run.sizes / limits.edges).mean()
        text = f"edges per batch: {limits.edges}, about {each:.2g} structures (change with train.batch_edges)"
        if alone := int((run.sizes > limits.edges).sum()):
            text += f"; {alone} structures have more, each is a batch of its own"
        console.print(text, soft_wrap=True)
    if together > 1:
        console.print(f"batches per step: {together}, on {ranks} rank{'s' * (ranks > 1)}")
    if ranks > together:
        console.print(
            f"[yellow]warning:[/] {ranks - together} ranks have nothing to do: the run began with "
            f"{together} batches a step",
            soft_wrap=True,
        )


def _parted(config: Config, snapshots, held_out):
    """Indices to train and to validate on."""
    if held_out is not snapshots:
        return usable(snapshots), usable(held_out)
    parts = split_by_group(
        snapshots, config.data.valid_fraction, config.seed, whole_groups=config.data.valid_by == "group"
    )
    return parts.train, parts.valid


def with_replay(config: Config, snapshots: Snapshots, new: np.ndarray) -> Snapshots:
    """The snapshots, behind them those that are replayed beside the ones with the indices `new`."""
    if config.data.replay is None:
        return snapshots
    old = open_snapshots(config.data.replay.source(), **config.data.reading_options())
    share, kept = config.data.replay.share, config.data.replay.labels
    drawn = replay(old, share, len(new), config.seed, kept, weight=_mean_weight(snapshots, new))
    return Joined([snapshots, drawn])


def _mean_weight(snapshots: Snapshots, indices: np.ndarray) -> float:
    """Of the weights that the sources of these structures have in the loss."""
    _, counts, weights = zip(*sources_of(snapshots), strict=True)
    source = np.searchsorted(np.cumsum(counts), indices, side="right")
    return float(np.asarray(weights)[source].mean())


def _kept(origin: Origin, snapshots, held_out, run_folder):
    """What a run began with, after a look at whether its data are still the same."""
    compare(snapshots, origin.fingerprints["train"], run_folder)
    if "valid" in origin.fingerprints:
        compare(held_out, origin.fingerprints["valid"], run_folder)
    return origin.train, origin.valid, origin.e0s


def origin_of(run: RunData, model: models.Potential, before: dict[str, dict]) -> Origin:
    """What a run that begins takes from its data; `before`: as in Origin."""
    prints = {"train": fingerprint(run.train.snapshots)}
    if run.valid is not None and run.valid.snapshots is not run.train.snapshots:
        prints["valid"] = fingerprint(run.valid.snapshots)
    return Origin(
        train=run.train.indices,
        valid=np.zeros(0, np.int64) if run.valid is None else run.valid.indices,
        e0s=run.e0s,
        scale=model.scale,
        shift=model.shift,
        num_neighbors=model.settings["num_neighbors"],
        batch_limits=run.batch_limits,
        batches_a_step=run.batches_a_step,
        limits=run.limits,
        fingerprints=prints,
        before=before,
    )


def _tests(data, options) -> dict[str, Snapshots]:
    if data.test is None:
        return {}
    named = data.test if isinstance(data.test, dict) else {"test": data.test}
    return {name: open_snapshots(plain_source(source), **options) for name, source in named.items()}


def plain_source(source):
    """Paths, and mappings of what a source gives, for `open_snapshots`."""
    if isinstance(source, list):
        return [plain_source(each) for each in source]
    return source if isinstance(source, str) else source.model_dump()


def _report(run: RunData, console: Console) -> None:
    coverages = [coverage(snapshots, indices, name, run.labels) for name, snapshots, indices in run.parts()]
    console.print(coverage_table(coverages))
    if len(sources := list(sources_of(run.train.snapshots))) > 1:
        each = "; ".join(f"{name}, {count} structures of weight {weight:g}" for name, count, weight in sources)
        console.print(
            f"sources, each structure once per epoch, with weights in the loss: {escape(each)}", soft_wrap=True
        )
    for warning in _each_once(warning for part in coverages for warning in part.warnings):
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    (_, train, indices), *others = run.parts()
    held_out = [part for part in others if part[0] not in TRAINED]
    for name, valid, others_indices in held_out:
        for text in split_notes(train, indices, valid, others_indices, name):
            console.print(f"note: {escape(text)}", soft_wrap=True)
    if untrained := _untrained_elements(run, coverages[0]):
        console.print(f"[yellow]warning:[/] {untrained}")
    console.print(f"E0s: {escape(run.e0s.origin)}", soft_wrap=True)
    for note in run.pretrained.notes if run.pretrained else ():
        console.print(f"fine-tuning: {escape(note)}", soft_wrap=True)


def sources_of(snapshots: Snapshots, weight: float = 1.0) -> Iterator[tuple[str, int, float]]:
    """(name, structures, weight in the loss) of each source that snapshots are joined from."""
    if isinstance(snapshots, Joined):
        for part in snapshots.parts:
            yield from sources_of(part, weight)
    elif isinstance(snapshots, Weighted):
        yield from sources_of(snapshots.part, weight * snapshots.weight)
    else:
        yield snapshots.name, len(snapshots), weight


def _each_once(warnings: Iterable[str]) -> list[str]:
    """Without those that differ from an earlier one in figures alone, as those of two parts of one file do."""
    first: dict[str, str] = {}
    for text in warnings:
        first.setdefault(re.sub(r"[-+]?\d[\d.e+-]*", "", text), text)
    return list(first.values())


def _untrained_elements(run: RunData, train: Coverage) -> str | None:
    """A sentence where no training structure holds some of the elements; None of a sample, which may miss the rare."""
    unseen = set(run.train.snapshots.elements) - set(train.elements)
    unseen -= set(run.pretrained.e0s_before) if run.pretrained else set()
    if not unseen or train.elements_sampled:
        return None
    names = ", ".join(chemical_symbols[z] for z in sorted(unseen))
    return (
        f"no training structure holds {names}, only structures held out or isolated atoms do: the model will accept "
        "these elements without having learnt anything about them"
    )


def _check_elements(run: RunData) -> None:
    known = tuple(run.e0s.values)
    strange = set() if run.valid is None else set(run.valid.snapshots.elements) - set(known)
    if strange:
        names = ", ".join(chemical_symbols[z] for z in sorted(strange))
        raise InputError(f"the validation data hold elements that the training data lack: {names}")
    for snapshots in run.tests.values():
        with_known_elements(known, snapshots, np.arange(len(snapshots)))


def build_model(config: Config, run: RunData, origin: Origin | None = None) -> models.Potential:
    """A fresh potential with the statistics of the training data, or the one of `train.init_from`, adapted to them.

    For a resumed run, scale, shift and number of neighbours are those of its `origin`. Parts that are frozen need no
    gradient; elements of the model of `train.init_from` that no longer occur are kept as they are.
    """
    model = _model(config, run, origin)
    model.d3 = config.data.subtract.d3
    freeze(model, config.train.freeze)
    gone = set(model.elements) - set(run.train.snapshots.elements) if config.train.init_from is not None else ()
    train_alike(model, kept=gone)
    return model


def _model(config: Config, run: RunData, origin: Origin | None) -> models.Potential:
    settings, e0s = config.model.settings(), run.e0s.values
    elements, dtype = sorted(e0s), getattr(torch, config.train.dtype)
    if origin is not None:
        run.limits = origin.limits
        origin_values = (origin.scale, origin.shift, origin.num_neighbors)
        return models.build(settings, elements, e0s, *origin_values, config.seed).to(dtype)
    measured = statistics(run.train, run.labels)
    run.limits = limits(run.train, e0s, measured.scale)
    if run.pretrained is not None:
        if run.pretrained.new_head:
            begin_readout(run.pretrained.model, measured.scale, measured.shift, config.seed)
        return run.pretrained.model
    model = models.build(settings, elements, e0s, measured.scale, measured.shift, measured.num_neighbors, config.seed)
    begin_repulsion(model, run.train.snapshots, run.train.indices)
    return model.to(dtype)
