"""The command line: `equitensor COMMAND`, the same as `python -m equitensor COMMAND`."""

from equitensor.cli.main import main

__all__ = ["main"]
