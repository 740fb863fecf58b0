"""The options that say where, and by what, a model is computed, and what is added to it."""


def add_computing_options(parser) -> None:
    """Register --device, --backend, --threads and --d3."""
    add = parser.add_argument
    add("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda")
    add(
        "--backend",
        default="auto",
        choices=("auto", "core", "torch"),
        help="core: compiled, on CPUs; torch; auto: the core where it can (equitensor info MODEL says which)",
    )
    add("--threads", type=int, metavar="N", help="of the core; default OMP_NUM_THREADS or all cores, one if few atoms")
    add(
        "--d3",
        metavar="METHOD-DAMPING",
        help="add this dispersion, as pbe-bj (a model that learned labels without theirs gets it unasked)",
    )


def computing_options(args) -> dict:
    """What `open_engine` and `Calculator` take of them, beside the device."""
    return {"backend": args.backend, "threads": args.threads, "d3": args.d3}
