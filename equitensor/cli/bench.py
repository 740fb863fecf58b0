"""`equitensor bench`: how fast the products and the model are on this machine, beside the installed peers."""


def add_parser(subparsers):
    """Register the command."""
    parser = subparsers.add_parser(
        "bench",
        help="time the tensor products and the model on this machine",
        description="Time the tensor products, e3nn's for comparison, and the default model. Results are median times "
        "in milliseconds over rounds in which all candidates take turns.",
    )
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="number of rounds; default 20")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of torch; default: its own setting")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"), help="precision; default float32")
    parser.add_argument("--json", metavar="FILE", help="write times, machine and versions")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Time, print, write."""
    import json

    import torch

    from equitensor.bench import environment, time_model, time_products
    from equitensor.errors import InputError
    from equitensor.whole_file import write_whole

    if args.rounds < 1:
        raise InputError(f"--rounds is {args.rounds}; it must be 1 or more")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    about = environment(args.dtype)
    dtype = getattr(torch, args.dtype)
    times = time_products(dtype, args.rounds) | time_model(dtype, args.rounds)
    print(f"{about['machine']['cpu']}, {about['threads']} threads, {args.dtype}, load {about['load'][0]}; milliseconds")
    print(f"{'':40}{'cg':>10}{'gaunt':>10}{'e3nn':>10}{'e3nn / cg':>12}")
    for case, row in times.items():
        cells = "".join(f"{row[name]:10.2f}" if name in row else " " * 10 for name in ("cg", "gaunt", "e3nn"))
        ratio = f"{row['e3nn'] / row['cg']:12.1f}" if "e3nn" in row else ""
        print(f"{case:40}{cells}{ratio}")
    if args.json:
        write_whole(args.json, json.dumps({"environment": about, "milliseconds": times}, indent=2) + "\n")
    return 0
