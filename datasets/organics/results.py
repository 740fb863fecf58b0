"""Results that are measured piece by piece: the file is written whole after each, and a later call goes on with it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from equitensor.bench.machine import environment
from equitensor.interfaces.committee import digest_of
from equitensor.whole_file import write_whole

FOLDER = Path(__file__).parent / "results"


def about(model: str, **settings) -> dict:
    """What results hang on: the weights of the model, by their digest, and the settings of the script."""
    return {"model": digest_of(model), **settings}


class Results:
    """`pieces` by name, `about` what they hang on; summary(pieces) says what they come to, in dictionaries of values.

    Ends the program where the file was begun with something else; `again` throws away what it has. `of_environment` is
    kept beside the machine and the versions.
    """

    def __init__(
        self, path: Path, about: dict, summary: Callable[[dict], dict], again: bool = False, **of_environment
    ) -> None:
        self.path, self.about, self.summary, self.of_environment = path, about, summary, of_environment
        self.pieces: dict[str, dict] = {}
        if path.exists() and not again:
            before = json.loads(path.read_text())
            if differing := [key for key in about if before["about"].get(key) != about[key]]:
                pairs = ", ".join(f"{key} {before['about'].get(key)}, now {about[key]}" for key in differing)
                sys.exit(f"error: {path} was begun with {pairs}: say --again to measure anew, or another --out")
            self.pieces = before["pieces"]

    def add(self, name: str, piece: dict) -> None:
        """Keep one piece, on the disk at once."""
        self.pieces[name] = piece
        content = {
            "environment": environment("float32", **self.of_environment),
            "about": self.about,
            "summary": self.summary(self.pieces),
            "pieces": self.pieces,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(content, indent=1) + "\n")
