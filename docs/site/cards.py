"""What a model that comes with equitensor says of itself, from its file."""

from equitensor.models import card_lines, read_header


def organics() -> str:
    """The card of `organics` as a table."""
    rows = [f"| {name} | {text} |" for name, text in card_lines(read_header("organics")["card"])]
    return "\n".join(["| | |", "| --- | --- |", *rows])
