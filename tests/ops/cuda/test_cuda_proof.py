"""Kernels that prove themselves at first use: the whole way, with kernels compiled for the host, and broken ones."""

import importlib
import json
import logging
from pathlib import Path

import pytest
import torch

from equitensor.errors import InputError
from equitensor.interfaces.e3nn import TensorProduct
from equitensor.ops.channel_product import channel_product, sparse_entries
from equitensor.ops.cuda import dispatch, launches, module
from equitensor.ops.cuda.compiler import CompilationError
from equitensor.ops.edge_form import gather_edges


class Spoiled:
    """Kernels whose last result is changed."""

    def __init__(self, kernels, change) -> None:
        self.kernels, self.change = kernels, change

    def launch(self, name, grid, block, arguments):
        self.kernels.launch(name, grid, block, arguments)
        self.change([t for t in arguments if isinstance(t, torch.Tensor) and t.numel()][-1].view(-1))


def spoil(change, only=""):
    """For `breaks`: where the problem holds `only`."""
    return lambda kernels, source: Spoiled(kernels, change) if only in dict(source.headers)["problem.h"] else kernels


def scale_one(result):
    result[0] *= 1.02


def not_a_number(result):
    result[-1] = torch.nan


def fail(result):
    raise RuntimeError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES\nand more")


def product(dtype=torch.float64):
    """The sum of squares of a product of channels, with its gradient: three kernels, one for each slot."""
    tensor = torch.zeros(2, 3, 4, dtype=torch.float64)
    tensor[0, 0, 0], tensor[1, 2, 3], tensor[1, 1, 2], tensor[0, 2, 1] = 1.0, -0.5, 2.0, 0.7
    generator = torch.Generator().manual_seed(5)
    x, y = (torch.randn(3, d, 2, dtype=dtype, generator=generator).requires_grad_() for d in (2, 3))
    z = channel_product(x, y, *sparse_entries(tensor), (2, 3, 4))
    return [t.detach() for t in (z, *torch.autograd.grad(z.square().sum(), (x, y)))]


def edges():
    """Sums along edges, with their gradient."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((3, 4, 4), (12, 3), (12, 3))
    operands = [torch.randn(s, dtype=torch.float64, generator=generator).requires_grad_() for s in shapes]
    z = gather_edges(*operands)
    return [t.detach() for t in (z, *torch.autograd.grad(z.square().sum(), operands))]


def assert_right(actual, wanted):
    for ours, theirs in zip(actual, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def files(gpu):
    return sorted(gpu.folder.glob("*.json"))


def test_a_kernel_is_proved_once_and_its_verdict_is_kept(host_gpu, caplog):
    wanted = product()
    with host_gpu.takes_over():
        assert_right(product(), wanted)
        proving = host_gpu.launched
        assert_right(product(), wanted)
    assert (proving, host_gpu.launched) == (6, 9)  # three proofs and calls, then calls alone
    assert [v.refused for v in module.verdicts] == [None] * 3 and len(files(host_gpu)) == 3
    assert all(0 < v.difference < 1e-12 and v.on == host_gpu.surroundings for v in module.verdicts)
    host_gpu.restart()
    with host_gpu.takes_over():
        assert_right(product(), wanted)
    assert host_gpu.launched == 3 and len(module.verdicts) == 3 and not caplog.records


@pytest.mark.parametrize(
    "change, words",
    [
        (scale_one, "differs from plain torch by "),
        (not_a_number, "gives values that are not finite"),
        (fail, "fails at once: RuntimeError: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES on a GPU"),
    ],
)
def test_a_broken_kernel_is_refused_with_one_warning_and_right_numbers(change, words, host_gpu, caplog):
    wanted = product()
    host_gpu.breaks["channel_product.cu"] = spoil(change)
    for _ in range(2):  # the second process finds the verdicts
        host_gpu.restart()
        caplog.clear()
        with host_gpu.takes_over():
            assert_right(product(), wanted)
            launched = host_gpu.launched
            assert_right(product(), wanted)
        assert host_gpu.launched == launched
        (record,) = caplog.records
        assert record.levelno == logging.WARNING and words in record.message
        assert record.message.startswith("channel_product runs in plain torch on the GPU")
        assert "the kernel channel_product.cu" in record.message and "a GPU (compute capability 9.0" in record.message
    assert launched == 0 and len(module.verdicts) == 3


def test_a_broken_derivative_alone_is_refused(host_gpu, caplog):
    """The kernel of the values goes on."""
    wanted = edges()
    host_gpu.breaks["edge_form.cu"] = spoil(scale_one, only="WANTED_Y = 1")
    with host_gpu.takes_over():
        assert_right(edges(), wanted)
    assert sorted(v.refused is None for v in module.verdicts) == [False, True]
    (record,) = caplog.records
    assert "edge_form.cu differs from plain torch by" in record.message


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError("CUDA_ERROR_NO_BINARY_FOR_GPU"), "channel_product.cu cannot be loaded (OSError: CUDA_ERROR_NO_BINARY"),
        (CompilationError("NVRTC refuses channel_product.cu for sm_90"), "NVRTC refuses channel_product.cu for sm_90"),
    ],
)
def test_what_cannot_be_compiled_or_loaded_is_not_tried_again(error, words, host_gpu, caplog, monkeypatch):
    tried = []

    def refuse(source, device):
        tried.append(source)
        raise error

    monkeypatch.setattr(module, "build", refuse)
    wanted = product()
    with host_gpu.takes_over():
        assert_right(product(), wanted)
        assert_right(product(), wanted)
    (record,) = caplog.records
    assert words in record.message and len(tried) == 3 and not files(host_gpu)


@pytest.mark.parametrize("change", [{"driver": "590.0"}, {"device": "another GPU"}, {"runtime": "13010"}])
def test_another_device_or_driver_makes_the_verdict_anew(change, host_gpu, caplog):
    with host_gpu.takes_over():
        product()
    host_gpu.surroundings = {**host_gpu.surroundings, **change}
    host_gpu.restart()
    with host_gpu.takes_over():
        product()
    assert host_gpu.launched == 6 and len(files(host_gpu)) == 6 and not caplog.records


def test_other_machine_code_makes_the_verdict_anew(host_gpu, caplog, monkeypatch):
    with host_gpu.takes_over():
        product()
    host_gpu.restart()
    monkeypatch.setattr(module, "digest_of_code", lambda code: "another")
    with host_gpu.takes_over():
        product()
    assert host_gpu.launched == 6 and "damaged or stale" in caplog.text


def _whole(text):
    fields = json.loads(text)
    return json.dumps({**fields, "refused": "because somebody wrote so"})


@pytest.mark.parametrize(
    "damage",
    [lambda text: "", lambda text: text[:-9], _whole, lambda text: "[]", lambda text: text.replace("9.0", "8.0")],
)
def test_a_damaged_verdict_is_made_anew(damage, host_gpu, caplog):
    with host_gpu.takes_over():
        product()
        for file in files(host_gpu):
            file.write_text(damage(file.read_text()))
        host_gpu.restart()
        product()
        assert host_gpu.launched == 6 and "compared with plain torch again" in caplog.text
        host_gpu.restart()
        product()
    assert host_gpu.launched == 3 and all(v.refused is None for v in module.verdicts)


@pytest.mark.parametrize("choice, launched, kept", [("never", 3, 0), ("always", 6, 3)])
def test_proofs_can_be_skipped_and_forced(choice, launched, kept, host_gpu, monkeypatch):
    monkeypatch.setenv("EQUITENSOR_KERNEL_PROOF", choice)
    for _ in range(2):
        host_gpu.restart()
        with host_gpu.takes_over():
            product()
        assert host_gpu.launched == launched and len(files(host_gpu)) == kept
    monkeypatch.setenv("EQUITENSOR_KERNEL_PROOF", "sometimes")
    host_gpu.restart()
    with (
        pytest.raises(InputError, match="EQUITENSOR_KERNEL_PROOF is 'sometimes': say first, always or never"),
        host_gpu.takes_over(),
    ):
        product()


def test_first_use_in_the_capture_of_a_graph_is_refused_with_advice(host_gpu, monkeypatch):
    monkeypatch.setattr(launches, "capturing", lambda device: True)
    with (
        host_gpu.takes_over(),
        pytest.raises(RuntimeError, match=r"has not been loaded.*run the same step once"),
    ):
        product()
    monkeypatch.setattr(launches, "capturing", lambda device: False)
    with host_gpu.takes_over():
        wanted = product()
        monkeypatch.setattr(launches, "capturing", lambda device: True)
        assert_right(product(), wanted)


def test_a_kernel_that_fails_in_graphs_works_without(host_gpu, monkeypatch):
    def broken(kernel, problem, device):
        raise RuntimeError("operation not permitted when stream is capturing")

    wanted = product()
    monkeypatch.setattr(launches, "has_graphs", lambda device: True)
    monkeypatch.setattr(launches, "replayed", broken)
    for _ in range(2):
        host_gpu.restart()
        with host_gpu.takes_over():
            assert_right(product(), wanted)
    monkeypatch.setattr(launches, "capturing", lambda device: True)
    with (
        host_gpu.takes_over(),
        pytest.raises(RuntimeError, match=r"fails in the capture.*run without CUDA graphs"),
    ):
        product()


def test_every_way_of_launching_is_compared_with_numbers_of_its_own(host_gpu, monkeypatch):
    """A way that launches nothing would leave the results of the way before."""
    left = {}

    def stale(kernel, problem, device):
        return left["result"]

    def keep(kernel, problem, device):
        left["result"] = kernel(*problem)
        return left["result"]

    ways = [("on the current stream", keep), ("on a stream of its own", stale)]
    monkeypatch.setattr(launches, "ways", lambda device: ways)
    wanted = product()
    with host_gpu.takes_over():
        assert_right(product(), wanted)
    assert all("on a stream of its own" in v.refused for v in module.verdicts)


def test_a_gpu_that_a_proof_has_stopped_is_said_and_kept(host_gpu, monkeypatch):
    host_gpu.breaks["channel_product.cu"] = spoil(fail)
    waits = iter([None, RuntimeError("an illegal memory access was encountered")])

    def settle(device):
        if error := next(waits, None):
            raise error

    monkeypatch.setattr(launches, "settle", settle)
    with (
        host_gpu.takes_over(),
        pytest.raises(RuntimeError, match="start the program again, and plain torch"),
    ):
        product()
    wanted = product()
    host_gpu.restart()
    with host_gpu.takes_over():
        assert_right(product(), wanted)


def test_a_lack_of_memory_is_no_verdict(host_gpu):
    def lack(result):
        raise torch.OutOfMemoryError("CUDA out of memory")

    host_gpu.breaks["channel_product.cu"] = spoil(lack)
    with host_gpu.takes_over(), pytest.raises(torch.OutOfMemoryError):
        product()
    assert not files(host_gpu) and not module.verdicts


def test_proofs_leave_random_numbers_and_arguments_alone(host_gpu):
    torch.manual_seed(0)
    wanted = torch.randn(3)
    torch.manual_seed(0)
    with host_gpu.takes_over():
        product()
    assert torch.equal(torch.randn(3), wanted)


def test_operators_are_all_proved():
    """Each that has kernels says how they are compared."""
    for name in ("uvu_product", "uvu_convolution", "uuu_product", "channel_product", "density_product", "edge_form"):
        importlib.import_module(f"equitensor.ops.{name}")
    assert set(dispatch.IMPLEMENTED) == set(dispatch.PROVED) and len(dispatch.IMPLEMENTED) == 17


@pytest.fixture
def gpu_check(monkeypatch):
    """benchmarks/gpu_check.py."""
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "benchmarks")
    return importlib.import_module("gpu_check")


def test_gpu_check(host_gpu, gpu_check):
    """All its layers, to second derivatives."""
    cases = [(layer, 0 if "density" in layer else 1, 3) for layer in gpu_check.LAYERS]
    report = gpu_check.survey(cases, "cpu", (torch.float64,), host_gpu.takes_over)
    assert not report["wrong"] and len(report["errors"]) == 37 and all(row["repeats"] for row in report["errors"])
    files = ["channel_product.cu", "density_product.cu", "edge_form.cu", "uuu_product.cu", "uvu_convolution.cu"]
    assert sorted({row["kernel"] for row in report["proofs"]}) == files
    assert all(row["refused"] is None and 0 <= row["difference"] < 1e-12 for row in report["proofs"])


@pytest.mark.parametrize("file", ["density_product.cu", "edge_form.cu", "uuu_product.cu", "uvu_convolution.cu"])
def test_gpu_check_finds_a_broken_kernel_and_its_numbers_are_right(file, host_gpu, gpu_check, caplog):
    layers = {"density_product.cu": ["density product", "density invariants"], "edge_form.cu": ["edge sums"]}
    layers |= {"uuu_product.cu": ["uuu product"], "uvu_convolution.cu": ["convolution"]}
    host_gpu.breaks[file] = spoil(scale_one)
    cases = [(layer, 0 if "density" in layer else 1, 3) for layer in layers[file]]
    report = gpu_check.survey(cases, "cpu", (torch.float64,), host_gpu.takes_over)
    assert all(row["error"] <= row["tolerance"] for row in report["errors"])
    assert report["wrong"] and {row["kernel"] for row in report["wrong"]} == {file}
    (record,) = caplog.records
    assert f"the kernel {file} differs" in record.message


def test_uvu_products_of_items_are_proved_as_convolutions(host_gpu):
    options = {"shared_weights": False, "internal_weights": False}
    product = TensorProduct("2x0e+2x1o", "1x0e", "2x0e+2x1o", [(n, 0, n, "uvu", True) for n in (0, 1)], **options)
    product = product.double()
    generator = torch.Generator().manual_seed(2)
    widths = (product.irreps_in1.dim, product.irreps_in2.dim, product.weight_numel)
    operands = [torch.randn(3, d, dtype=torch.float64, generator=generator) for d in widths]
    wanted = product(*operands)
    with host_gpu.takes_over():
        assert_right([product(*operands)], [wanted])
    assert [(v.kernel, v.refused) for v in module.verdicts] == [("uvu_convolution.cu", None)]
