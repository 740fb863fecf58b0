"""Train a potential: python train.py CONFIG.yaml [key.sub=value ...], the same as `equitensor train`."""

import sys

from equitensor.cli import main

raise SystemExit(main(["train", *sys.argv[1:]]))
