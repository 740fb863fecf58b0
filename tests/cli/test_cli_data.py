"""`equitensor data`: convert, then info."""

import pytest

from equitensor.cli.main import build_parser
from equitensor.data import formats
from equitensor.errors import InputError


def run(*argv):
    args = build_parser().parse_args(["data", *map(str, argv)])
    return args.run(args)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("2\ntotal=27.2 other=1 pbc='F F F'\nH 0 0 0\nH 0 0 0.7\n" * 3)
    return path


def test_convert_then_info(source, tmp_path, capsys):
    out = tmp_path / "a.lmdb"
    assert run("convert", source, out, "--energy-key", "total", "--energy-unit", "kcal/mol") == 0
    assert "wrote" in capsys.readouterr().out
    assert run("info", out) == 0
    text = capsys.readouterr().out
    assert "3 of 3" in text and str(source) in text and "0.590" in text


def test_elements_and_weights_are_named(tmp_path, capsys):
    dump = tmp_path / "run.dump"
    dump.write_text(
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
        "ITEM: ATOMS id type x y z fx fy fz\n1 1 0 0 0 0 0 1\n2 2 2 2 2 0 0 -1\n"
    )
    assert run("info", dump, "--elements", "Si", "O") == 0
    assert "O Si" in capsys.readouterr().out
    assert run("convert", dump, tmp_path / "a.lmdb", "--elements", "Si,O") == 0
    (tmp_path / "b.xyz").write_text("2\nenergy=-1 w=5 pbc='F F F'\nH 0 0 0\nH 0 0 0.7\n")
    capsys.readouterr()
    assert run("info", tmp_path / "b.xyz", "--weight-key", "w") == 0
    assert "5.000 (1 differ from 1)" in capsys.readouterr().out


@pytest.mark.parametrize("name", formats.names())
def test_every_format_can_be_named(name):
    assert build_parser().parse_args(["data", "info", "a", "--format", name]).format == name


def test_errors_reach_the_caller(source, tmp_path):
    with pytest.raises(InputError, match=r"keys in this file are other, total"):
        run("convert", source, tmp_path / "a.lmdb")
    assert not list(tmp_path.glob("*.lmdb*"))
    with pytest.raises(InputError, match="is both source and result"):
        run("convert", source, source)


def test_info_describes_structures_without_labels(tmp_path, capsys, caplog):
    path = tmp_path / "bare.xyz"
    path.write_text("2\nLattice='4 0 0 0 4 0 0 0 4' mine=1\nO 0 0 0\nO 0 0 1.2\n" * 3)
    assert run("info", path) == 0
    out = capsys.readouterr().out
    assert "0 of 3" in out and "1.200" in out and " O " in out
    assert "no energy, forces or stress found. The keys in this file are mine" in caplog.text
    with pytest.raises(InputError, match="no energy, forces or stress found"):
        run("convert", path, tmp_path / "a.lmdb")


def test_a_file_without_keys_is_not_asked_for_one(tmp_path, caplog):
    path = tmp_path / "bare.xyz"
    path.write_text("2\n\nO 0 0 0\nO 0 0 1.2\n" * 3)
    assert run("info", path) == 0
    assert caplog.messages == [f"{path}: no energy, forces or stress found"]


def test_info_and_convert_name_absurd_forces(tmp_path, capsys):
    path = tmp_path / "a.xyz"
    frame = "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1.0\nF 0 0 0 0 0 {0}\nCl 0 0 1.7 0 0 -{0}\n"
    path.write_text("".join(frame.format(11358.0 if i == 37 else 0.1 + i / 100) for i in range(40)))
    for arguments in (["info", path], ["convert", path, tmp_path / "a.lmdb"], ["info", tmp_path / "a.lmdb"]):
        assert run(*arguments) == 0
        out = capsys.readouterr().out
        for words in ("a.xyz, frame 37", ": a force of 11358 eV/Angstrom", "repair or remove"):
            assert words in out


def test_info_and_convert_warn_of_forces_that_are_gradients(tmp_path, alanine_data, capsys):
    for command in (("info",), ("convert", tmp_path / "a.lmdb")):
        arguments = [command[0], alanine_data / "test_hot.xyz", *command[1:]]
        assert run(*arguments, "--forces-unit=-eV/Angstrom") == 0
        assert "push apart" in capsys.readouterr().out


def test_patterns_in_quotes(source, tmp_path, capsys):
    assert run("info", str(tmp_path / "*.xyz"), "--energy-key", "total") == 0
    assert "3 of 3" in capsys.readouterr().out
    with pytest.raises(InputError, match="nothing matches this pattern"):
        run("convert", str(tmp_path / "*.traj"), tmp_path / "a.lmdb")
