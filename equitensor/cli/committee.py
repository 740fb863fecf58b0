"""The option by which several model files compute as one."""


def add_committee_option(parser) -> None:
    """Register --committee."""
    parser.add_argument(
        "--committee",
        nargs="+",
        metavar="OTHER",
        default=[],
        help="models trained with other seeds: use the mean of MODEL OTHER ..., with error bars from their spread "
        "(calibrate it first with equitensor uncertainty --committee)",
    )


def model_files(args) -> list[str]:
    """MODEL and the others of its committee."""
    return [args.model, *args.committee]


def model_or_committee(args):
    """What `open_engine` and `Calculator` take: a model file or a list of them."""
    return model_files(args) if args.committee else args.model
