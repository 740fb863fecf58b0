"""Our products beside e3nn's, the same maps with the same weights, one thread, float32.

    python benchmarks/e3nn_products.py [--edges 20000] [--items 1000] [--rounds 5]

Writes benchmarks/results/e3nn_products.json: milliseconds (medians of rounds in which all take turns) of values,
values and gradients, a force step (the gradient, then its backward) and one whose forces are the gradient w.r.t. y, and
how many times faster than e3nn.
"""

import argparse
import json
from pathlib import Path

import torch

from equitensor.bench import environment
from equitensor.bench.e3nn_products import compare_with_e3nn

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--edges", type=int, default=20000)
parser.add_argument("--items", type=int, default=1000)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "e3nn_products.json")
args = parser.parse_args()

torch.set_num_threads(1)
rows = compare_with_e3nn(args.edges, args.items, args.rounds)
for row in rows:
    print(f"{row['case']:60}{row['task']:20}{row['milliseconds']['e3nn']:10.1f} ms  {row['times faster']}")
args.out.parent.mkdir(exist_ok=True)
args.out.write_text(json.dumps({"environment": environment("float32"), "rows": rows}, indent=1) + "\n")
