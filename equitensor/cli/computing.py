"""The options that say where, and by what, a model is computed, and what is added to it."""


def add_computing_options(parser) -> None:
    """Register --device, --backend, --threads and --d3."""
    add = parser.add_argument
    add("--device", default="auto", help="auto (default: a GPU if available), cpu, cuda")
    add(
        "--backend",
        default="auto",
        choices=("auto", "core", "torch"),
        help="core (compiled, on CPUs), torch, or auto: the core if possible (see equitensor info MODEL)",
    )
    add(
        "--threads",
        type=int,
        metavar="N",
        help="threads of the core; default OMP_NUM_THREADS or all cores, fewer for few atoms",
    )
    add(
        "--d3",
        metavar="METHOD-DAMPING",
        help="add D3 dispersion, as pbe-bj (automatic for models trained on labels without dispersion)",
    )


def computing_options(args) -> dict:
    """What `open_engine` and `Calculator` take of them, beside the device."""
    return {"backend": args.backend, "threads": args.threads, "d3": args.d3}
