"""The sections of a config: what a run's keys are, what they take and mean."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
    model_serializer,
)

from equitensor.data import formats
from equitensor.errors import InputError
from equitensor.graph.labels import Label, labels
from equitensor.models import D3
from equitensor.models.architectures import CUTOFF, DEFAULT


class Section(BaseModel):
    """Base of all: keys that it does not have are refused, and true and false where they are no values."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value, info):
        """pydantic takes true for 1."""
        truth = cls.model_fields[info.field_name].annotation in (bool, bool | None)
        values = value.values() if info.field_name in ("e0s", "lr") and isinstance(value, dict) else [value]
        if not truth and any(isinstance(each, bool) for each in values):
            raise ValueError("true and false are no values of this key")
        return value


class Subtract(Section):
    """What is taken off the labels before a model learns them, and added to its predictions: d3, as "pbe-bj"."""

    d3: str | None = Field(None, description="DFT-D3 that the labels include: functional and damping, as pbe-bj")
    zbl: bool = Field(False, description="must be false: model.zbl makes the ZBL repulsion part of the model")

    @field_validator("d3")
    @classmethod
    def _known(cls, value):
        try:
            return value if value is None else D3(value).name
        except InputError as error:
            raise ValueError(str(error)) from None

    @field_validator("zbl")
    @classmethod
    def _part_of_the_model(cls, value):
        if value:
            raise ValueError("model.zbl: true makes it part of the model, which then learns the rest: leave this out")
        return value


TRAIN = "training data: a path, a pattern, a mapping with a path and reader options, or a list of these"
VALID = "validation data, in the same form as `train`; null: a part of `train`"
TEST = "test data, evaluated at the end, in the same form as `train`, or a mapping from names to several sets"
REPLAY = "data of an earlier training to replay, and their share in each epoch"


class DataConfig(Section):
    """Where the snapshots are, how they are read, and what is held out."""

    train: Any = Field(description=TRAIN)
    valid: Any = Field(None, description=VALID)
    test: Any = Field(None, description=TEST)
    replay: Any = Field(None, description=REPLAY)
    valid_fraction: float = Field(0.1, ge=0, lt=1, description="share of `train` held out if `valid` is not given")
    valid_by: Literal["group", "frame"] = Field("group", description="hold out whole groups, or single frames")
    fixed_forces: bool = Field(
        False, description="also learn the forces on atoms marked as fixed, if they are not zero"
    )
    e0s: dict[str | int, float] | str | None = Field(
        None,
        description="energies of isolated atoms in eV by element; or a file with them; or isolated (from the data); "
        "or fit (least squares); null: isolated if the data contain all of them, else fit",
    )
    subtract: Subtract = Field(Subtract(), description="what is subtracted from labels and added to predictions")
    format: str = Field("auto", description="format of the files; auto: determined for each file")
    num_workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="processes that prepare batches; auto: none until steps have to wait for data"
    )

    def reading_options(self) -> dict:
        """What `open_snapshots` takes beside the path, where given."""
        options = {name: getattr(self, name) for name in formats.all_settings()}
        return {"format": self.format} | {name: value for name, value in options.items() if value is not None}


class Source(Section):
    """Data with options of its own: what `open_snapshots` takes as a mapping."""

    path: str | list[str] = Field(description="a file, folder, store or pattern, or several")
    weight: PositiveFloat = Field(1.0, description="factor on the weights of its structures in the loss")
    format: str | None = Field(None, description="format of its files; null: data.format")

    @model_serializer(mode="wrap")
    def _what_is_given(self, handler):
        return {name: value for name, value in handler(self).items() if value is not None}


class Replay(Section):
    """Data that a model was trained on before, the share of them in each epoch, and the labels to learn from."""

    path: str | list[str] = Field(description="a file, folder, store or pattern, or several")
    share: float = Field(0.2, gt=0, lt=1, description="share in the structures of an epoch, by weight")
    labels: list[str] | None = Field(None, description="labels to learn; null: all that are present")
    format: str | None = Field(None, description="format of its files; null: data.format")

    def source(self) -> dict:
        """What `open_snapshots` takes."""
        return self.model_dump(exclude={"share", "labels"}, exclude_none=True)


class ModelConfig(Section):
    """The architecture, with the settings of all; one that is left out takes the architecture's own default."""

    architecture: str = Field(DEFAULT, description="backbone: directional, dimenet++, or one from an installed package")
    cutoff: PositiveFloat = Field(CUTOFF, description="cutoff radius, Angstrom")
    zbl: bool = Field(False, description="add the ZBL repulsion between nuclei at short distances")
    repulsion: bool | None = Field(
        None,
        description="below the distances of the training data add ZBL, keep the network constant; null: only for data "
        "with many elements",
    )

    def settings(self) -> dict:
        """The arguments of `models.build`."""
        return self.model_dump(exclude_none=True)


_Rates = Annotated[
    Annotated[PositiveFloat, Tag("<rate>")] | Annotated[dict[str, PositiveFloat], Tag("<by part>")],
    Discriminator(lambda value: "<by part>" if isinstance(value, dict) else "<rate>"),
]


class TrainConfig(Section):
    """How long, how fast, in what precision, and on what."""

    batch_size: PositiveInt | None = Field(None, description="maximum number of structures per batch")
    batch_edges: PositiveInt | None = Field(
        None, description="maximum number of edges per batch; default: those of ten structures, at most 4500"
    )
    accumulate: PositiveInt = Field(1, description="batches per step on each rank")
    max_epochs: PositiveInt | None = Field(None, description="epochs after which the run ends")
    max_time: str | None = Field(
        None,
        description="time after which the run ends, HH:MM:SS or seconds",
        json_schema_extra={"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
    )
    optimizer: Literal["soap", "adam", "muon"] = Field("soap", description="optimiser")
    lr: _Rates | None = Field(
        None, description="learning rate of weight matrices, or one by part of the model; null: the optimiser's own"
    )
    weight_decay: float = Field(0.0, ge=0, description="weight decay of weight matrices, decoupled as in AdamW")
    constant: float = Field(
        0.3, ge=0, le=1, description="share of the run before the cosine decay of the learning rate"
    )
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the moving average of weights, which is what is saved")
    clip: PositiveFloat | None = Field(None, description="maximum norm of the gradient; null: no clipping")
    dtype: Literal["float32", "float64"] = Field("float32", description="precision of weights and features")
    device: str = Field("auto", description="cpu, cuda, cuda:1, or auto: a GPU if available")
    threads: PositiveInt | None = Field(None, description="CPU threads; null: one per core")
    init_from: str | None = Field(None, description="fine-tuning: start from this model file, or from organics")
    head: Literal["keep", "new"] = Field(
        "keep", description="fine-tuning: keep the readout of init_from, or initialise a new one"
    )
    freeze: list[str] = Field(
        [],
        description="fine-tuning: parts of the model that are not trained",
        json_schema_extra={"type": ["array", "string"]},
    )
    patience: PositiveInt | None = Field(None, description="stop after this many validations without improvement")
    loggers: list[Literal["tensorboard", "wandb"]] = Field([], description="loggers in addition to metrics.csv")

    @property
    def by_part(self) -> bool:
        """Whether a model is trained further, or its parts in different ways."""
        return self.init_from is not None or bool(self.freeze) or isinstance(self.lr, dict)

    @field_validator("freeze", mode="before")
    @classmethod
    def _one_part(cls, value):
        return [value] if isinstance(value, str) else value

    @field_validator("max_time", mode="before")
    @classmethod
    def _clock(cls, value):
        """A whole number is one of seconds."""
        if isinstance(value, int) and value >= 0:
            return f"{value // 3600:02d}:{value // 60 % 60:02d}:{value % 60:02d}"
        if value is not None and seconds(value) == 0:
            raise ValueError("no time at all")
        return value


class LossConfig(Section):
    """L = forces |dF|^2 + energy (dE / n)^2 + stress (V |dS| / n)^2, over the labels that are present.

    The table of labels has the terms and their default weights. From `late` of the run on, energy_late replaces energy.
    Errors count linearly beyond a limit: for forces (eV/Angstrom), and with the same number for energies per atom (eV),
    `huber` times the RMS of the labelled forces or, if that is less, three times their usual size; for virials per atom
    `huber` times three times their own usual size. null: no limit.
    """

    late: float = Field(0.75, ge=0, le=1, description="share of the run after which the energy weight is `energy_late`")
    huber: PositiveFloat | None = Field(
        1.0, description="errors larger than this multiple of the usual size count linearly; null: all are squared"
    )

    def weights(self, late: bool) -> dict[str, float]:
        """label -> weight of its term, before or after `late`."""
        return {label.name: getattr(self, loss_key(label, late)) for label in labels()}


def loss_key(label: Label, late: bool) -> str:
    """The key of `loss` that weighs a label's term, before or after `late`."""
    return f"{label.name}_late" if late and label.late is not None else label.name


def seconds(clock: str) -> float:
    """Seconds of "HH:MM:SS" (or "MM:SS"). Raises ValueError for anything else."""
    parts = str(clock).split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdigit() for part in parts):
        raise ValueError(f"{clock!r} is not a time: write HH:MM:SS, as 00:10:00")
    return float(sum(int(part) * 60**i for i, part in enumerate(reversed(parts))))
