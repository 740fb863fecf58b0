"""What is said to CuPy and to torch's streams and graphs in a launch, in the order in which it is said; no GPU."""

import contextlib
import sys
from types import SimpleNamespace

import pytest
import torch

from equitensor.ops.channel_product import channel_product
from equitensor.ops.cuda import edges, launches, module
from equitensor.ops.density_product import SparseTensor, density_features
from equitensor.ops.edge_form import gather_edges, read_edges
from equitensor.ops.uvu_convolution import uvu_convolution

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@contextlib.contextmanager
def said(log, *words):
    log.append(words)
    yield
    log.append(("end", *words))


def fake_cupy(log, foreign_streams):
    """As CuPy since 14, or before."""

    class Stream:
        if foreign_streams:

            @classmethod
            def from_external(cls, stream):
                return said(log, "stream", stream.__cuda_stream__()[1])

    class Module:
        def load(self, code):
            log.append(("load", code))

        def get_function(self, name):
            return lambda *arguments: log.append((name, *arguments))

    cuda = SimpleNamespace(Stream=Stream, function=SimpleNamespace(Module=Module))
    cuda.Device = lambda index: said(log, "device", index)
    cuda.ExternalStream = lambda pointer, index: said(log, "stream", pointer)
    return SimpleNamespace(cuda=cuda)


@pytest.mark.parametrize("foreign_streams", [True, False])
def test_a_launch_is_on_the_current_stream_of_the_tensors_device(foreign_streams, monkeypatch):
    log = []
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(log, foreign_streams))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=77))
    kernels = module._GPUKernels(b"code", CPU)
    x, index = torch.zeros(3), torch.zeros(2, dtype=torch.int64)
    kernels.launch("sum", (1, 2, 3), (4, 5, 6), (9, x, None, index))
    on, stream = ("device", None), ("stream", 77)
    launch = ("sum", (1, 2, 3), (4, 5, 6), (9, x.data_ptr(), 0, index.data_ptr()))
    assert log == [on, ("load", b"code"), ("end", *on), on, stream, launch, ("end", *stream), ("end", *on)]


def test_addresses_of_other_devices_and_other_indices_are_refused():
    with pytest.raises(RuntimeError, match="a kernel on cuda:1 was given a tensor on cpu: move the model"):
        module._argument(torch.zeros(1), GPU)
    with pytest.raises(RuntimeError, match=r"indices in torch.int32: they must be torch.int64"):
        module._argument(torch.zeros(1, dtype=torch.int32), CPU)


@pytest.fixture
def log(monkeypatch):
    """What is said to a torch with two GPUs, the second of which computes."""
    log = []

    class Stream:
        def __init__(self, device):
            log.append(("new stream", device))

        def wait_stream(self, other):
            log.append(("wait for", other))

        def synchronize(self):
            log.append("stream has ended")

    graph = SimpleNamespace(replay=lambda: log.append("replay"))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "current")
    monkeypatch.setattr(torch.cuda, "stream", lambda s: said(log, "on", s if isinstance(s, str) else "side"))
    monkeypatch.setattr(torch.cuda, "device", lambda device: said(log, "device", device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda g, stream, capture_error_mode: said(log, "capture"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("GPU has ended"))
    return log


def kernel_of(log):
    def kernel(x):
        log.append("launch")
        return (x,)

    return kernel


def test_proofs_go_through_streams_and_devices(log):
    ways, x = launches.ways(GPU), torch.ones(1)
    assert [words for words, _ in ways] == ["on the current stream", "on a stream of its own", "from another device"]
    for _, run in ways:
        assert run(kernel_of(log), (x,), GPU) == (x,)
    side = [("new stream", GPU), ("wait for", "current"), ("on", "side"), "launch", ("end", "on", "side")]
    other = [("device", 0), "launch", ("end", "device", 0)]
    assert log == ["launch", *side, "stream has ended", *other]


def test_proofs_go_through_graphs(log):
    """Numbers are those of the replay; the current stream is restored whatever the capture does."""
    launches.replayed(kernel_of(log), (torch.ones(1),), GPU)
    outside = [("device", GPU), ("on", "current")]
    captured = [("capture",), "launch", ("end", "capture"), "replay", "GPU has ended"]
    assert log == [("new stream", GPU), *outside, *captured, ("end", "on", "current"), ("end", "device", GPU)]


def test_sorted_edges_are_those_of_one_stream(monkeypatch):
    """Another stream could read them before they are written."""
    index, streams = torch.tensor([1, 0, 1]), [5, 5, 6]
    orders = []
    for stream in streams:
        monkeypatch.setattr(edges, "_stream", lambda tensor, stream=stream: stream)
        orders.append(edges.by_node(index, 2)[0])
    assert orders[0] is orders[1] and orders[2] is not orders[0] and torch.equal(orders[2], orders[0])


def test_edges_are_sorted_again_where_their_device_captures(monkeypatch):
    """A graph sorts at each replay, whatever the current device is."""
    index, asked = torch.tensor([1, 0, 1]), []
    monkeypatch.setattr(launches, "capturing", lambda device: asked.append(device) or True)
    first, second = (edges.by_node(index, 2)[0] for _ in range(2))
    assert first is not second and asked == [index.device] * 2


def _convolution(**changes):
    plan = torch.tensor([[0, 0, 0, 0, 2, 1, 1, 1]])
    edge = torch.tensor([0, 1, 1])
    at = {"x": torch.ones(2, 2), "y": torch.ones(3, 1), "w": torch.ones(3, 2), "sender": edge, "receiver": edge}
    return uvu_convolution(*{**at, **changes}.values(), torch.ones(1), plan, 2)


def _density(weight, species):
    tensor = SparseTensor(torch.zeros(3, 4, 1, dtype=torch.int32), torch.ones(3, 1, dtype=torch.float64), True)
    return density_features(torch.ones(2, 1, 3), weight, None, species, tensor)


SPECIES = torch.zeros(2, dtype=torch.int64)
MISFITS = {
    "3 rows of y, 3 of w, 2 senders": lambda: _convolution(sender=torch.tensor([0, 1])),
    "2 rows of y, 3 of w": lambda: _convolution(y=torch.ones(2, 1)),
    "senders and receivers must be int64": lambda: _convolution(receiver=torch.tensor([0, 1, 1], dtype=torch.int32)),
    "an array of rows has shape": lambda: gather_edges(torch.ones(2, 3, 4), torch.ones(5, 2), torch.ones(5, 2)),
    "weight has shape": lambda: _density(torch.ones(1, 2, 1, 4), SPECIES),
    "species is not among the 1": lambda: _density(torch.ones(1, 2, 1, 3), SPECIES + 1),
    "joins an atom that is not among the 2": lambda: _convolution(sender=torch.tensor([0, 1, 2])),
    "reverse of an edge is not among the 6": lambda: read_edges(
        torch.ones(2, 3, 4), torch.ones(2, 4, 2), torch.ones(6, 2), torch.arange(6) + 1
    ),
    "species has shape": lambda: _density(torch.ones(1, 2, 1, 3), SPECIES[:1]),
    "y has shape|y is": lambda: channel_product(
        torch.ones(2, 1, 3),
        torch.ones(1, 1, 3),
        torch.zeros(3, 4, 1, dtype=torch.int32),
        torch.ones(3, 1, dtype=torch.float64),
        (1, 1, 1),
    ),
}


@pytest.mark.parametrize("words", MISFITS)
def test_what_does_not_fit_is_refused_before_a_kernel_reads_it(words, host_gpu):
    with host_gpu.takes_over(), pytest.raises(RuntimeError, match=words):
        MISFITS[words]()
    assert not host_gpu.launched
