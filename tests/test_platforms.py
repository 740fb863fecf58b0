"""What only some systems have is not needed to import anything."""

import subprocess
import sys

IMPORTS = """
import sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # importing it raises ImportError, as on Windows
import equitensor, equitensor.bench.kernels, equitensor.bench.machine, equitensor.testing
from equitensor.cli import main
assert main(["--version"]) == 0
from equitensor import data, interfaces, training
import equitensor.data.store, equitensor.training.fit, equitensor.training.largest_step
import equitensor.report.report, equitensor.report.server
"""


def test_modules_import_without_those_of_unix():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
