"""The keys of a config and the table of labels, from the models that check them."""

from equitensor.graph.labels import labels
from equitensor.training.config_keys import Key, keys


def page() -> str:
    """A section for each section of the config."""
    return "\n".join(_section(name, section) for name, section in keys().items())


def _section(name: str, section: list[Key]) -> str:
    rows = [f"| `{key.name}` | {_cell(key.values)} | {_default(key)} | {_cell(key.meaning)} |" for key in section]
    return "\n".join([f"## {name}", "", "| key | values | default | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _default(key: Key) -> str:
    return f"`{key.default}`" if key.default else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def labels_table() -> str:
    """Each label: what has one, its shape, its unit, and what the loss counts."""
    rows = [
        f"| `{each.name}` | {'each atom' if each.per_atom else 'each structure'} | {each.shape or 'a number'} "
        f"| {each.unit} | {each.quantity.name.replace('_', ' ')}, {each.quantity.unit} | {_weights(each)} |"
        for each in labels()
    ]
    head = ["| label | of | shape | unit | term of the loss | weight |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *rows])


def _weights(label) -> str:
    return f"{label.weight:g}" if label.late is None else f"{label.weight:g}, then {label.late:g}"
