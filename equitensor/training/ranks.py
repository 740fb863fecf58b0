"""The processes that train one model together: what they tell each other, and what is said when one of them ends."""

import contextlib
import os
import re
from collections.abc import Iterator

import torch
from lightning.fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor

from equitensor.errors import InputError


class Ranks:
    """Sums over all ranks, and what rank 0 says. Alone, every value is what it was.

    A rank that ends, for whatever reason, makes all others raise InputError at the next exchange.
    """

    def __init__(self, fabric) -> None:
        self.rank, self.count, self.device = fabric.global_rank, fabric.world_size, fabric.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """The sums of these values over all ranks, in float64."""
        if self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        with self._explained():
            torch.distributed.all_reduce(tensor)
        return tensor.tolist()

    def sum_gradients(self, parameters: list[Tensor]) -> None:
        """Give each parameter the sum of its gradients over all ranks, or none where no rank has one."""
        if self.count == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        present = gradients[0].new_tensor([p.grad is not None for p in parameters])
        joint = torch.cat([gradient.flatten() for gradient in gradients] + [present])
        with self._explained():
            torch.distributed.all_reduce(joint)
        *sums, present = joint.split([p.numel() for p in parameters] + [len(parameters)])
        for p, total, number in zip(parameters, sums, present.tolist(), strict=True):
            p.grad = total.view_as(p) if number else None

    def first(self, *values: float) -> list[float]:
        """The values of rank 0."""
        return self.sum([value if self.is_first else 0.0 for value in values]) if self.count > 1 else list(values)

    def share(self, tensors: list[Tensor]) -> None:
        """Give all ranks the values of rank 0."""
        if self.count > 1:
            with self._explained(), torch.no_grad():
                for tensor in tensors:
                    torch.distributed.broadcast(tensor, 0)

    def wait(self) -> None:
        """Until all ranks are here."""
        self.sum([0.0])

    def part(self) -> None:
        """All ranks have done what they do together; from here on each may end on its own."""
        if self.count > 1:
            self.wait()
            torch.distributed.destroy_process_group()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[-1][:200]
            raise InputError(
                f"rank {self.rank} of {self.count} cannot reach the others, one of which has ended, so it ends too; "
                f"the other's message says why, and the run goes on from its last checkpoint with --resume ({reason})"
            ) from None


def rank_options(accelerator: str) -> dict:
    """What Fabric takes for the ranks that torchrun or srun started, if they did; else one, on one device.

    Raises InputError where srun started more tasks on one node than on another, or where a node has fewer GPUs.
    """
    if not TorchElasticEnvironment.detect():
        if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
            return {"devices": 1, "plugins": [LightningEnvironment()]}
        os.environ.update(_as_torchrun_says_it(os.environ))
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    if accelerator == "cuda" and torch.cuda.device_count() < local:
        raise InputError(
            f"{local} ranks on this node, but each sees {torch.cuda.device_count()} GPUs: start one rank for each GPU, "
            "and let all of them see all GPUs of the node (srun: --gpus-per-node, not --gpus-per-task)"
        )
    return {
        "devices": local,
        "num_nodes": int(os.environ["WORLD_SIZE"]) // local,
        "strategy": DDPStrategy(),
        "plugins": [TorchElasticEnvironment()],
    }


def started_ranks(accelerator: str) -> tuple[int, int]:
    """This rank and their number, of those that torchrun or srun started, also where they never meet."""
    if "strategy" not in rank_options(accelerator):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def _as_torchrun_says_it(slurm) -> dict[str, str]:
    """torchrun's variables out of those of a task of srun."""
    tasks, nodes = int(slurm["SLURM_STEP_NUM_TASKS"]), int(slurm.get("SLURM_STEP_NUM_NODES", 1))
    on_each = set(re.findall(r"(\d+)(?:\(x\d+\))?", slurm.get("SLURM_STEP_TASKS_PER_NODE", "")))
    if tasks % nodes or len(on_each) > 1:
        raise InputError(f"srun started {tasks} tasks on {nodes} nodes: give every node as many (--ntasks-per-node)")
    host = SLURMEnvironment.resolve_root_node_address(slurm.get("SLURM_STEP_NODELIST", "127.0.0.1"))
    port = 15000 + (int(slurm.get("SLURM_JOB_ID", 0)) * 7 + int(slurm.get("SLURM_STEP_ID", 0))) % 10000
    return {
        "RANK": slurm["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": slurm["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "GROUP_RANK": slurm.get("SLURM_NODEID", "0"),
        "MASTER_ADDR": slurm.get("MASTER_ADDR", host),
        "MASTER_PORT": slurm.get("MASTER_PORT", str(port)),
    }
