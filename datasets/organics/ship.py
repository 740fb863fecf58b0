"""Put a trained model where it is found by name, `organics` by default, with its card: card.yaml, its data, its errors.

    python datasets/organics/ship.py runs/organics/model/model.eqt runs/organics/errors.json runs/organics/train*.lmdb

Errors are those that evaluate.py measured with the same model.
"""

import argparse
import json
import shutil
from pathlib import Path

import yaml

from equitensor.data import Store, coverage
from equitensor.models import read_header, write_card
from equitensor.models.by_name import SHIPPED
from equitensor.models.card import write_header

OWN_CARD = Path(__file__).resolve().parent / "card.yaml"


def data_of(stores: list[Path]) -> dict[str, int]:
    """How much was trained on."""
    covered = [coverage(Store(store)) for store in stores]
    return {
        "training frames": sum(each.structures for each in covered),
        "training molecules and pairs": sum(each.groups for each in covered),
        "atoms of the largest": max(each.atoms_range[1] for each in covered),
    }


def without_folders(value):
    """A header in which absolute paths, which are those of one machine, are the names of their files."""
    if isinstance(value, dict):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def shipped(model: Path, name: str) -> Path:
    """The copy of a model file that is loaded by this name."""
    SHIPPED.mkdir(exist_ok=True)
    copy = SHIPPED / f"{name}.eqt"
    shutil.copyfile(model, copy)
    write_header(copy, without_folders(read_header(copy)))
    return copy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("errors", type=Path, help="JSON of evaluate.py")
    parser.add_argument("train", type=Path, nargs="+", help="the stores that it was trained on")
    parser.add_argument("--name", default="organics", help="by which it is found; default %(default)s")
    parser.add_argument("--card", type=Path, default=OWN_CARD, help="what it is for; default card.yaml")
    options = parser.parse_args()
    if options.name != Path(options.name).name:
        parser.error(f"--name {options.name}: a plain name, without folders")
    if options.name != "organics" and options.card == OWN_CARD:
        parser.error(f"--name {options.name} needs a --card of its own: {OWN_CARD.name} describes organics")
    card = yaml.safe_load(options.card.read_text())
    card["data"] = data_of(options.train)
    card["errors"] = json.loads(options.errors.read_text())
    write_card(options.model, card)
    file = shipped(options.model, options.name)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    print(f"elements {read_header(file)['elements']}")


if __name__ == "__main__":
    main()
