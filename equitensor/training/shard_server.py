"""What the process of a shard does: it answers what `shard_process` asks."""

import contextlib
import gc
import os
import pickle
import sys
import traceback
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equitensor.graph import AtomicGraph
from equitensor.graph.labels import Label, registered
from equitensor.training.loss import Terms, loss, residuals
from equitensor.training.memory import peak_memory
from equitensor.training.shard_process import write


def mapped(path: str, size: int, dtype: torch.dtype) -> Tensor:
    """(size,) numbers of a file; what one process writes the others see."""
    return torch.from_file(path, shared=True, size=size, dtype=dtype)


def views(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """One-dimensional numbers as tensors of these shapes, one after the other."""
    return [piece.view_as(each) for piece, each in zip(flat.split([each.numel() for each in like]), like, strict=True)]


class Server:
    """Each method is something to ask for."""

    def __init__(self) -> None:
        self.labels = contextlib.ExitStack()

    def prepare(self, model: nn.Module, labels: list[Label], threads: int, path: str, row: int, rows: int) -> None:
        """Take this model, whose weights are the first row of the file, and write gradients to another row."""
        self.labels.close()
        for label in labels:
            self.labels.enter_context(registered(label))
        torch.set_num_threads(threads)
        parameters = list(model.parameters())
        flat = mapped(path, rows * sum(p.numel() for p in parameters), parameters[0].dtype).view(rows, -1)
        for parameter, weight in zip(parameters, views(flat[0], parameters), strict=True):
            parameter.data = weight
        self.model, self.parameters = model, [p for p in parameters if p.requires_grad]
        gradients = views(flat[row], parameters)
        self.gradients = [view for p, view in zip(parameters, gradients, strict=True) if p.requires_grad]
        gc.collect()
        gc.freeze()

    def residuals(self, arrays: dict, options: dict, terms: Terms | None) -> tuple[dict, float, list[bool]]:
        """Those of a graph; where there are `terms`, also the loss, and which weights get a gradient from it."""
        graph = AtomicGraph.from_arrays(arrays)
        self.model.train(terms is not None)
        errors = residuals(self.model(graph, **options), graph)
        value = 0.0 if terms is None else loss(errors, *terms)
        present = [False] * len(self.parameters)
        if isinstance(value, Tensor):
            gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
            present = [gradient is not None for gradient in gradients]
            rows = [row for row, here in zip(self.gradients, present, strict=True) if here]
            torch._foreach_copy_(rows, [gradient for gradient in gradients if gradient is not None])
            value = value.detach()
        return {name: each.detach().numpy() for name, each in errors.items()}, float(value), present

    def peak_memory(self) -> float:
        return peak_memory()


def serve() -> None:
    """Answer requests until the input is closed; what is printed meanwhile goes to standard error."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    served = Server()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            write(answers, _answered(served, pickle.load(requests)))


def _answered(served: Server, message: bytes) -> bytes:
    try:
        name, arguments = pickle.loads(message)
        return pickle.dumps((getattr(served, name)(*arguments), None, ""), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        trace = traceback.format_exc()
        try:
            pickle.loads(message := pickle.dumps((None, error, trace)))
        except Exception:
            message = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), trace))
        return message
