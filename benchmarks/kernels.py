"""The compiled convolution against the limits of the machine: threads, edges, degrees, memory. float32.

    python benchmarks/kernels.py [--edges 20000]

Writes benchmarks/results/kernels.json: for each case the time, what the machine's copy and matrix product would allow
(measured in the same run), and the share of it that is reached; gains from a second thread beside those of torch's
own operations; nanoseconds an edge up to a million edges and at lmax 1 to 6; peak memory beside e3nn's; time and memory
with a radial network's last layer inside the convolution and before it.
"""

import argparse
import json
from pathlib import Path

import torch

from equitensor.bench import environment, kernels

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--edges", type=int, default=20000)
parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "kernels.json")
args = parser.parse_args()

torch.set_num_threads(1)
results = {"environment": environment("float32"), "limits": kernels.machine_limits()}
print(results["limits"])
results["convolution"] = kernels.convolution_limits(args.edges)
for row in results["convolution"]:
    print(
        f"{row['case']:42}{row['task']:20}{row['milliseconds']:10.1f} ms, attainable {row['attainable']:8.1f} "
        f"({row['bound']}), share {row['share']:.2f}"
    )
for name, measure in (
    ("two threads", kernels.thread_scaling),
    ("nanoseconds an edge, by edges", kernels.by_edges),
    ("nanoseconds an edge, by lmax", kernels.by_degree),
    ("peak MiB, lmax 2, 128 channels", kernels.peak_memory),
    ("weights made inside, lmax 2, 128 channels", kernels.radial_layer),
):
    results[name] = measure()
    print(name, results[name])
args.out.write_text(json.dumps(results, indent=1) + "\n")
