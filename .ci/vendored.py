"""`make vendored`: the JavaScript of the report page, fetched by npm at pinned versions and checked, with its licences.

What is listed in equitensor/report/vendored/vendored.json is written beside it. Only developers who raise a version run
this; the files are committed, so neither an installation nor a report downloads anything.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "equitensor" / "report" / "vendored"


def fetch(package: dict, folder: Path) -> Path:
    """The tarball of a package. Exits where it is not the one whose digest is listed."""
    name = f"{package['name']}@{package['version']}"
    done = subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, capture_output=True, text=True)
    tarball = folder / done.stdout.split()[-1]
    digest = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if digest != package["integrity"]:
        sys.exit(f"{name}: integrity is {digest}, {package['integrity']} is listed")
    return tarball


def main() -> None:
    for package in json.loads((FOLDER / "vendored.json").read_text()):
        target = FOLDER / package["name"]
        target.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fetch(package, Path(folder))) as archive:
            for path, expected in package["files"].items():
                content = archive.extractfile(f"package/{path}").read()
                digest = hashlib.sha256(content).hexdigest()
                if digest != expected:
                    sys.exit(f"{package['name']}/{path}: sha256 is {digest}, {expected} is listed")
                (target / Path(path).name).write_bytes(content)
        print(f"{package['name']} {package['version']}: {', '.join(package['files'])}")


if __name__ == "__main__":
    main()
