"""A label of structures."""

from equitensor.graph.labels import Form, Label, Quantity

DIPOLE = Label(
    name="dipole",
    per_atom=False,
    shape=(3,),
    unit="e Angstrom",
    parse_unit=lambda name, option: {"debye": 0.2081943}[name.lower()],
    dimension=(0, 1),
    forms=(Form("", r"dipole(?:_moment)?s?"),),
    bit=0,
    quantities=(Quantity("dipole", "e A", "dipole"),),
    term="dipole",
    weight=1.0,
)
