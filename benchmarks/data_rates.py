"""How fast data are converted and read, and what a store of millions of records takes: seconds of CPU, memory, disk.

    python benchmarks/data_rates.py --oc20 ../shared/data/oc20/s2ef_lmdb/train [--records 5000000] [--out FILE]

Conversion and reading are of the OC20 frames, repeated. The large store is synthetic (water, positions at random), made
under --folder and removed. What training does over all records before its first step is timed piece by piece, each in a
process of its own. Times are of the CPU, so other load on the machine changes them little.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from environment import RESULTS, append, environment

CHUNK, FRAMES = 50_000, 10  # records made at once; of one trajectory


def cpu(who=resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def resident() -> float:
    """Memory of this process now, MB; mapped pages of files count where they were looked at."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def conversion(source: Path, folder: Path, repeats: int, workers: int) -> dict:
    """Of the source, so often, by so many processes."""
    from equitensor.data import convert

    own, theirs, began = cpu(), cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    store = convert([source] * repeats, folder / "converted.lmdb", workers=workers, overwrite=True)
    wall, own = time.perf_counter() - began, cpu() - own
    n, readers = len(store), cpu(resource.RUSAGE_CHILDREN) - theirs
    return {
        "workers": workers,
        "frames": n,
        "atoms_per_frame": round(float(store.index.atoms.mean()), 1),
        "cpu_us_per_frame": round(1e6 * (own + readers) / n, 1),
        "of_which_the_writing_process": round(1e6 * own / n, 1) if workers > 1 else None,
        "frames_per_second_of_two_free_cores": round(2 * n / (own + readers)),
        "frames_per_second_here": round(n / wall),
        "bytes_per_frame": round((folder / "converted.lmdb").stat().st_size / n),
    }


def reading(path: Path, count: int = 20_000) -> dict:
    """Structures in random order, and those with their neighbours within 5 Angstrom."""
    from equitensor.data import GraphDataset, Store

    store = Store(path)
    order = np.random.default_rng(0).integers(len(store), size=count)
    result = {"records": len(store), "atoms_per_record": round(float(store.index.atoms[order].mean()), 1)}
    for name, source, chosen in (
        ("structures", store, order),
        ("graphs", GraphDataset(store, cutoff=5.0, cache=False), order[:500]),
    ):
        for i in chosen[:100]:
            source[int(i)]
        began = cpu()
        for i in chosen:
            source[int(i)]
        result[f"{name}_per_cpu_second"] = round(len(chosen) / (cpu() - began))
    return result


def make(path: Path, records: int) -> dict:
    """A store of so many records of three atoms, `FRAMES` in a trajectory."""
    from equitensor.data import StoreWriter
    from equitensor.data.index import row_of
    from equitensor.data.record import encode
    from equitensor.graph import Structure

    water = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    energy, name = -2077.0123, "molecule 000000000"
    model = Structure(np.array([8, 1, 1]), water, np.zeros((3, 3)), np.zeros(3, bool), energy, water, group=name)
    template, row = encode(model), row_of(model)
    places = [template.index(part) for part in (water.tobytes(), np.array(energy, ">f8").tobytes(), name[-9:].encode())]
    rng, began = np.random.default_rng(0), cpu()
    with StoreWriter(path, overwrite=True) as writer:
        for start in range(0, records, CHUNK):
            n = min(CHUNK, records - start)
            text = np.tile(np.frombuffer(template, np.uint8), (n, 1))
            energies = energy + 0.1 * rng.normal(size=n)
            groups = [b"%09d" % ((start + i) // FRAMES) for i in range(n)]
            values = (
                (water + 0.05 * rng.normal(size=(n, 3, 3))).view(np.uint8).reshape(n, -1),
                energies.astype(">f8").view(np.uint8).reshape(n, -1),
                np.frombuffer(b"".join(groups), np.uint8).reshape(n, -1),
            )
            for place, value in zip(places, values, strict=True):
                text[:, place : place + value.shape[1]] = value
            whole, size = text.tobytes(), len(template)
            rows = [
                (*row[:2], name[:-9] + group.decode(), row[3], e)
                for group, e in zip(groups, energies.tolist(), strict=True)
            ]
            writer.extend([whole[i * size : (i + 1) * size] for i in range(n)], rows)
        finishing = cpu()
        writer.finish()
    return {
        "records": records,
        "megabytes": round(path.stat().st_size / 1e6),
        "bytes_per_record": round(path.stat().st_size / records, 1),
        "cpu_seconds": round(cpu() - began, 1),
        "of_which_the_index_at_the_end": round(cpu() - finishing, 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def opening(path: Path) -> dict:
    """Opened, and asked for a structure, in a process that has nothing else loaded."""
    from equitensor.data import Store

    before, began, used = resident(), time.perf_counter(), cpu()
    store = Store(path)
    store[len(store) // 2]
    opened = {"cpu_seconds": round(cpu() - used, 4), "wall_seconds": round(time.perf_counter() - began, 4)}
    opened["megabytes"] = round(resident() - before, 1)
    used = cpu()
    index = store.index
    sums = [int(x.sum()) for x in (index.atoms, index.flags, index.group, index.composition)]
    whole = {"cpu_seconds_for_all_arrays": round(cpu() - used, 4), "megabytes_then": round(resident() - before, 1)}
    return (
        opened
        | whole
        | {"peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}
        | ({} if sums[0] == 3 * len(store) else {"wrong": sums})
    )


def walks(path: Path) -> dict:
    """What looks at all records, or at a stated sample of them, before the first step of a training."""
    import torch

    from equitensor.data import GraphDataset, Store, coverage, resolve_e0s, split_by_group, split_notes, usable
    from equitensor.data.absurd_labels import LabelSample
    from equitensor.training.evaluation import with_known_elements
    from equitensor.training.fingerprint import fingerprint

    torch.set_num_threads(1)
    store, before, times, kept = Store(path), resident(), {}, {}

    def timed(name, function):
        began = cpu()
        kept[name] = function()
        times[name] = round(cpu() - began, 2)
        return kept[name]

    timed("structures to learn from (all)", lambda: usable(store))
    split = timed("split by trajectory (all)", lambda: split_by_group(store, 0.1, 0))
    e0s = timed("E0s by least squares (all)", lambda: resolve_e0s("fit", store, split.train))
    timed("elements that are known (all)", lambda: with_known_elements((1, 8), store, split.valid))
    dataset = timed("data set of graphs (all)", lambda: GraphDataset(store, split.train))
    timed("labels (20000)", lambda: LabelSample.of(store, dataset.indices, e0s.values))
    timed("coverage and checks (counts of all; 20000, 500)", lambda: coverage(store, split.train))
    timed("frames of both parts that are the same (50000 each)", lambda: split_notes(store, *_both(store, split)))
    timed("fingerprint (sizes of all; 2000)", lambda: fingerprint(store))
    return {
        "cpu_seconds": times,
        "megabytes": round(resident() - before),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _both(store, split):
    return split.train, store, split.valid


def alone(what: str, *arguments) -> dict:
    """A part of this script in a process of its own."""
    command = [sys.executable, __file__, "--part", what, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure(options, folder: Path) -> dict:
    result = {"environment": environment("float64")}
    if options.oc20:
        result["conversion"] = [conversion(options.oc20, folder, options.repeats, n) for n in (1, 2)]
        result["reading"] = alone("reading", folder / "converted.lmdb")
    if options.records:
        large = folder / "large.lmdb"
        small = folder / "small.lmdb"
        result["large store"] = alone("make", large, options.records)
        result["opening it"] = alone("opening", large)
        alone("make", small, 10_000)
        result["reading it"] = alone("reading", large)
        result["reading a small one"] = alone("reading", small)
        result["before the first step"] = alone("walks", large)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oc20", type=Path, help="S2EF frames in the published layout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--records", type=int, default=5_000_000, help="of the synthetic store; 0: none")
    parser.add_argument("--folder", type=Path, help="where stores are made, 3 GB; default: a temporary one")
    parser.add_argument("--out", type=Path, default=RESULTS / "data_rates.json")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        name, path, *rest = options.part
        parts = {"reading": reading, "make": make, "opening": opening, "walks": walks}
        print(json.dumps(parts[name](Path(path), *map(int, rest))))
        return
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        result = measure(options, folder)
    finally:
        shutil.rmtree(folder)
    append(result, options.out)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
