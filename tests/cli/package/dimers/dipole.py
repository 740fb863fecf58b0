"""A label of structures."""

from equitensor.graph import units
from equitensor.graph.labels import Form, Label, Quantity

DIPOLE = Label(
    name="dipole",
    per_atom=False,
    shape=(3,),
    unit="e Angstrom",
    parse_unit=units.parser({"e Angstrom": 1.0, "debye": 0.2081943}),
    dimension=(0, 1),
    forms=(Form("", r"dipole(?:_moment)?s?"),),
    bit=0,
    quantities=(Quantity("dipole", "e A", "dipole"),),
    term="dipole",
    weight=1.0,
)
