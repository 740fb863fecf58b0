"""The equitensor command with its clock counting processor time, for trainings of a given cost on a machine in use.

    .venv/bin/python benchmarks/processor_clock.py train CONFIG train.max_time=1200 train.threads=1 data.num_workers=0

train.max_time is then seconds of this process. Those of others, shards of a batch and readers ahead, would not count:
hence one thread and no readers.
"""

import runpy
import time

ALONE = ("train.threads=1", "data.num_workers=0")

if __name__ == "__main__":
    time.monotonic = time.process_time
    runpy.run_module("equitensor", run_name="__main__", alter_sys=True)
