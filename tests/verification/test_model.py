"""`equitensor verify`: a model file with every backend there is, a calculator of the user's, exit codes, JSON."""

import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii

from equitensor.cli import main
from equitensor.data import convert
from equitensor.verification import model
from equitensor.verification.finding import NOT_APPLICABLE, PASSED, Finding
from equitensor.verification.model import backends, plain_torch
from equitensor.verification.report import Report
from equitensor.verification.structures import made

FACTORIES = """
from ase.calculators.emt import EMT

class Doubled(EMT):
    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results["forces"] = 2 * self.results["forces"]

def of_dtype(dtype):
    return EMT() if dtype == "float64" else Doubled()

instance, number = EMT(), 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True)
    atoms.write("copper.cif")
    (tmp_path / "factories.py").write_text(FACTORIES)
    return tmp_path


@pytest.mark.parametrize("elements", [["H"], ["O", "H", "C", "N"], ["Au", "Cu"], list("HCNOFPSKVYIWU")])
def test_made_structures_are_not_absurd(elements):
    structures = made(elements)
    assert [len(atoms) for atoms in structures.values()] == [8, 4]
    for atoms in structures.values():
        assert set(atoms.get_chemical_symbols()) <= set(elements)
        radii = covalent_radii[atoms.numbers]
        ratio = atoms.get_all_distances(mic=True) / (radii[:, None] + radii)
        np.fill_diagonal(ratio, np.inf)
        assert ratio.min() > 0.99 and ratio.min(axis=0).max() < 1.01


def test_a_model_passes(trained_file, folder, capsys):
    assert main(["verify", str(trained_file), "--json", "verify.json", "--seconds", "20"]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "no STRUCTURE: a generated cluster and crystal are checked" in out
    assert "energy minus E0" in (folder / "verify.json").read_text()
    written = json.loads((folder / "verify.json").read_text())
    assert written["passed"] and len(written["structures"]) == 2
    verdicts = {check["check"]: check["verdict"] for check in written["structures"][1]["checks"]}
    for name in ("forces", "stress", "supercells", "cutoff", "plain torch, float32"):
        assert verdicts[name] == "passed"
        assert name in out


def test_every_backend_is_beside_the_reference(potential, lammps):
    findings = {finding.check: finding for finding in backends(potential, made(["C", "O"])["made crystal"])}
    present = {name for name, finding in findings.items() if finding.verdict == "passed"}
    ways = {f"{way}, {dtype}" for way in ("operators", "evaluator", "LAMMPS") for dtype in ("float32", "float64")}
    assert present >= ways | {"plain torch, float32"}
    assert all(finding.reason for name, finding in findings.items() if name not in present)
    assert findings["evaluator, float64"].worst.bound < 1e-3 * findings["evaluator, float32"].worst.bound


def test_the_verdict_counts_what_backends_were_asked(potential, monkeypatch):
    findings = [
        Finding("one", PASSED),
        Finding("other", NOT_APPLICABLE, reason="it is not here"),
        Finding("third", PASSED),
    ]
    monkeypatch.setattr(model, "verify", lambda *_, **__: Report("CO", [], 7, 0.0))
    monkeypatch.setattr(model, "backends", lambda path, atoms: iter(findings))
    report = model.verify_model(potential, None, None)
    assert report.findings == findings and report.seconds > 0
    assert report.verdict().startswith("CO: 2 checks passed (10 calls")  # the reference, and two backends


def test_a_kernel_that_is_wrong_is_named(potential, monkeypatch):
    from equitensor.interfaces import core_engine

    right = core_engine.CoreEngine.compute

    def wrong(self, structure, stress):
        out = right(self, structure, stress)
        return out | {"forces": out["forces"] * 1.001}

    monkeypatch.setattr(core_engine.CoreEngine, "compute", wrong)
    atoms = Atoms("COH", [[0, 0, 0], [1.2, 0, 0], [1.5, 0.9, 0]])
    failed = [finding.check for finding in backends(potential, atoms) if finding.verdict == "failed"]
    assert failed == ["evaluator, float64", "evaluator, float32"]


def test_plain_torch_ends_with_its_context():
    from equitensor.ops import availability

    before = availability.WHY_NOT
    with pytest.raises(ZeroDivisionError), plain_torch():
        assert not availability.has_kernel(torch.zeros(1))
        raise ZeroDivisionError
    assert before == availability.WHY_NOT


def test_calculators_of_others(folder, capsys):
    assert main(["verify", "--calculator", "ase.calculators.emt:EMT", "copper.cif", "--seconds", "5"]) == 0
    assert "copper.cif" in capsys.readouterr().out
    labelled = ase.io.read("copper.cif")
    labelled.calc = SinglePointCalculator(labelled, energy=-14.0)
    labelled.write("copper.xyz")
    convert(["copper.xyz"], "copper.lmdb")
    assert main(["verify", "--calculator", "ase.calculators.emt:EMT", "copper.lmdb@0", "--seconds", "1"]) == 0
    assert "copper.lmdb@0" in capsys.readouterr().out
    command = ["verify", "copper.cif", "--seconds", "5", "--json", "verify.json", "--calculator"]
    assert main([*command, "factories.py:of_dtype", "--e0s", "Cu=3.51"]) == 1
    checks = json.loads((folder / "verify.json").read_text())["structures"][0]["checks"]
    assert [check["check"] for check in checks if check["verdict"] == "failed"] == ["float32"]
    assert main([*command, "factories:Doubled"]) == 1
    checks = json.loads((folder / "verify.json").read_text())["structures"][0]["checks"]
    assert "forces" in [check["check"] for check in checks if check["verdict"] == "failed"]


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "MODEL is missing"),
        (["no.eqt"], "no.eqt: there is no such model file"),
        (["MODEL", "nowhere.xyz"], "nowhere.xyz"),
        (
            ["MODEL", "gold.xyz"],
            "gold.xyz: the calculator cannot compute the structure: InputError: the structure holds",
        ),
        (["MODEL", "one.xyz"], "one.xyz: a structure of one atom has no forces"),
        (["MODEL", "--e0s", "H=1"], "--e0s needs --calculator"),
        (["MODEL", "--seconds", "0"], "--seconds is 0.0"),
        (["--calculator", "factories.py:instance"], "STRUCTURE is missing"),
        (["gold.xyz", "--calculator", "factories"], "say MODULE:FACTORY"),
        (["gold.xyz", "--calculator", "factories.py:number"], "neither a calculator nor a function"),
        (["gold.xyz", "--calculator", "factories.py:missing"], "factories.py has no missing"),
        (["gold.xyz", "--calculator", "nothing.py:f"], "nothing.py"),
        (["gold.xyz", "--calculator", "no.such.module:f"], "No module named"),
        (["gold.xyz", "--calculator", "factories.py:instance", "--e0s", "Cu"], "--e0s Cu: say symbols"),
    ],
)
def test_wrong_input_is_one_line(words, message, folder, potential, capsys):
    ase.io.write("gold.xyz", Atoms("Au2", [[0, 0, 0], [0, 0, 2.5]]))
    ase.io.write("one.xyz", Atoms("C"))
    assert main(["verify", *(str(potential) if word == "MODEL" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
