"""What `equitensor bench` runs: our products and model on this machine, beside the peers that are installed."""

from equitensor.bench.machine import environment
from equitensor.bench.model import time_model
from equitensor.bench.products import time_products
from equitensor.bench.rounds import medians

__all__ = ["environment", "medians", "time_model", "time_products"]
