"""The drawing of the packages, from the contract that import-linter checks."""

import configparser
from pathlib import Path

_SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"
_SAYS = {
    "testing": "assertions for tests of equivariant layers; used by none",
    "cli": "argv and config files stop here",
    "bench": "what `equitensor bench` times",
    "report": "a run as a page",
    "verification": "checks of any calculator",
    "interfaces": "names and units of other programs",
    "training": "epochs, optimisers, ranks",
    "models": "energy, forces, stress",
    "data": "files and formats",
    "nn": "layers: parameters and buffers",
    "graph": "what an atomic structure is",
    "o3": "true on paper: tables in float64",
    "ops": "arithmetic on tensors",
    "core": "the compiled library",
    "registry": "things of other packages by name",
    "settings": "signatures as settings",
    "versions": "of packages",
    "whole_file": "files written whole or not at all",
    "cores": "how many cores",
    "errors": "InputError",
    "lazy": "names loaded on first use",
}


def layers() -> list[list[str]]:
    """The packages of each layer, the highest first."""
    parser = configparser.ConfigParser()
    parser.read(_SETUP)
    contract = next(name for name in parser.sections() if name.startswith("importlinter:contract"))
    return [[name.strip() for name in line.split("|")] for line in parser[contract]["layers"].split("\n") if line]


def drawing() -> str:
    """An SVG, one row for each layer."""
    width, height, gap = 860, 54, 8
    shapes = []
    for row, names in enumerate(layers()):
        each = (width - gap * (len(names) - 1)) / len(names)
        for column, name in enumerate(names):
            x, y, middle = column * (each + gap), row * (height + gap), column * (each + gap) + each / 2
            shapes.append(f'<rect x="{x:.1f}" y="{y}" width="{each:.1f}" height="{height}" rx="4"/>')
            shapes.append(f'<text x="{middle:.1f}" y="{y + 22}" text-anchor="middle">{name}</text>')
            says = _SAYS[name].replace("`", "")
            shapes.append(f'<text class="says" x="{middle:.1f}" y="{y + 42}" text-anchor="middle">{says}</text>')
    total = len(layers()) * (height + gap)
    head = f'<svg class="house" viewBox="0 0 {width} {total}" role="img" aria-label="The packages, in layers">'
    return "\n".join(["```{raw} html", head, *shapes, "</svg>", "```"])
