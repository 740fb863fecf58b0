"""`equitensor info`: versions, devices and kernels, or the card of a model."""

from equitensor.cli.trained import MODEL_HELP


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "info",
        help="versions, devices and kernels, or a model's card",
        description="Print versions, devices, threads and kernels or, for MODEL, what the file contains.",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help=MODEL_HELP)
    parser.set_defaults(run=run)


def run(args) -> int:
    """Print."""
    if args.model:
        _print_card(args.model)
    else:
        _print(_machine())
    return 0


def _print(lines, columns=None):
    """(name, value) lines, the values below each other, wrapped where columns are given."""
    import textwrap

    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        line = f"{name:{width}}  {value}"
        print(textwrap.fill(line, columns, subsequent_indent=" " * (width + 2)) if columns else line)


def _print_card(path):
    """What the model is for, where it has a card, and what its file holds."""
    from equitensor.models import card_lines, read_header

    header = read_header(path)
    if card := header.pop("card", None):
        _print(card_lines(card), columns=110)
        print()
    _print(_of_file(path, header))


def _machine():
    """(name, value) lines about this installation."""
    import platform

    import torch

    from equitensor.interfaces.lammps import plugin
    from equitensor.models import shipped_models
    from equitensor.versions import versions

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cpu = torch.backends.cpu.get_cpu_capability()
    return [
        *versions().items(),
        ("cpu", f"{platform.processor() or platform.machine()}, {cpu}"),
        ("gpu", ", ".join(gpus) or "none that torch sees"),
        ("threads", f"{torch.get_num_threads()} (inside an operation)"),
        ("simulations", _simulations()),
        ("LAMMPS", plugin.status()),
        ("models", f"{', '.join(shipped_models())}: equitensor info NAME"),
        *_kernels(),
    ]


def _simulations() -> str:
    """What computes a trained potential on a CPU here."""
    from equitensor.interfaces.evaluator import instruction_sets
    from equitensor.interfaces.evaluator_library import why_not

    return f"by torch: {why_not()}" if why_not() else f"compiled evaluator, without torch, {instruction_sets()[0]}"


# What has compiled operators, for float32 and float64.
_OPERATIONS = (
    "edge geometry",
    "edge sums",
    "edge read-out",
    "degree linear",
    "density product",
    "many-body product",
    "gaunt product",
    "uvu convolution",
    "radial convolution",
    "uvu product",
    "uuu product",
    "silu",
)


def _kernels():
    """(operation, what computes it here) lines, and why nothing faster does."""
    from equitensor import core

    if core.WHY_NOT is not None:
        return [("kernels", f"plain torch for every operation: {core.WHY_NOT}"), *_gpu_kernels()]
    vectors = core.instruction_set()
    faster = "" if vectors == "AVX-512" else ", the widest vectors that this processor has"
    threads = "" if core.has_openmp() else ", one thread only: it was built without OpenMP"
    known = [(name, f"C++ on CPU, {vectors}{faster}{threads}") for name in _OPERATIONS]
    return [*known, *_gpu_kernels()]


def _gpu_kernels():
    """The same for a GPU."""
    from equitensor.ops import cuda

    reason = cuda.why_not()
    if reason is not None:
        return [("on a GPU", f"plain torch for every operation: {reason}")]
    lines = [(f"{name}, GPU", f"CUDA C++, compiled on first use by NVRTC {cuda.version()}") for name in cuda.OPERATIONS]
    return [*lines, ("others, GPU", "plain torch: they have no CUDA kernel yet")]


def _of_file(path, header):
    """(name, value) lines about a model file with this header."""
    from ase.data import chemical_symbols

    from equitensor.interfaces.backend import backend_of
    from equitensor.models import model_path

    backend, why = backend_of(path)
    lines = [("file", model_path(path)), ("backend", f"{backend}: {why}")]
    if header.get("error_bars") is None:
        lines.append(("error bars", f"none: equitensor uncertainty {path} TRAIN puts them in"))
    for name, value in _flat(header):
        if name == "elements":
            value = " ".join(chemical_symbols[int(z)] for z in value)
        elif name == "e0s":
            value = ", ".join(f"{chemical_symbols[int(z)]} {e0:.6f}" for z, e0 in value.items()) + " eV"
        lines.append((name, value))
    return lines


def _flat(header, prefix=""):
    """The entries of nested dicts under dotted names, E0s left whole."""
    for name, value in header.items():
        if isinstance(value, dict) and name != "e0s":
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
