"""What a run took from its data at the start: a resumed run takes it from its checkpoint, not from the data again."""

from dataclasses import dataclass, field

import numpy as np
import torch

from equitensor.data import E0s
from equitensor.errors import InputError
from equitensor.graph.labels import FORCES
from equitensor.training.batches import BatchLimits


@dataclass(frozen=True)
class Origin:
    """Split (indices int64), E0s, scale and shift (eV), mean number of neighbours, limits of a batch, batches a step.

    limits: where errors begin to count linearly, by label. fingerprints: of the training data and, where these are
    others, of the validation data. before: errors before the first step of a fine-tuning, by part.
    """

    train: np.ndarray
    valid: np.ndarray
    e0s: E0s
    scale: float
    shift: float
    num_neighbors: float
    batch_limits: BatchLimits
    batches_a_step: int
    limits: dict[str, float]
    fingerprints: dict[str, dict]
    before: dict[str, dict] = field(default_factory=dict)

    def state(self) -> dict:
        """Tensors and plain values, for a checkpoint."""
        return {
            "train": torch.from_numpy(self.train),
            "valid": torch.from_numpy(self.valid),
            "e0s": dict(self.e0s.values),
            "e0s_origin": self.e0s.origin,
            "scale": self.scale,
            "shift": self.shift,
            "num_neighbors": self.num_neighbors,
            "batch_size": self.batch_limits.structures,
            "batch_edges": self.batch_limits.edges,
            "batches_a_step": self.batches_a_step,
            "limits": self.limits,
            "fingerprints": self.fingerprints,
            "before": self.before,
        }

    @classmethod
    def of(cls, state: dict, run) -> "Origin":
        """Out of the state of a run. Raises InputError where it was written before checkpoints held this."""
        origin = state.get("origin")
        if origin is None:
            raise InputError(
                f"--resume {run}: its last.ckpt is of an earlier equitensor and does not say what it was trained on; "
                f"start a new run in another folder, with train.init_from={run}/model.eqt for its weights"
            )
        limits = origin.get("limits", {FORCES.name: origin["scale"]})  # all that earlier checkpoints had
        rest = {name: origin[name] for name in ("scale", "shift", "num_neighbors", "fingerprints")}
        rest["batch_limits"] = BatchLimits(origin["batch_size"], origin.get("batch_edges"))
        rest["batches_a_step"] = origin.get("batches_a_step", 1)
        e0s = E0s(origin["e0s"], origin["e0s_origin"])
        rest["before"] = origin.get("before", {})
        return cls(origin["train"].numpy(), origin["valid"].numpy(), e0s, limits=limits, **rest)
