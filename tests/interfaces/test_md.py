import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixCom, FixedLine

from equitensor.errors import InputError
from equitensor.interfaces import Calculator, run_md
from equitensor.interfaces.md import MDSettings, simulate
from equitensor.interfaces.stability import UnstableError
from equitensor.interfaces.trajectory import COLUMNS, read_atoms, read_restart
from equitensor.interfaces.velocities import degrees_of_freedom, draw


def started(atoms, morse, temperature, **options):
    atoms.calc = Calculator(morse, device="cpu", dtype="float64", **options)
    draw(atoms, temperature, np.random.default_rng(5))
    return atoms


@pytest.mark.parametrize("name, freedom", [("CH4", 9), ("CO2", 4), ("N2", 1), ("H2O", 3)])
def test_velocities_of_a_molecule_are_at_rest_as_a_whole(name, freedom):
    atoms = molecule(name)
    draw(atoms, 400.0, np.random.default_rng(0))
    assert degrees_of_freedom(atoms, "nve") == freedom
    assert atoms.get_kinetic_energy() == pytest.approx(0.5 * freedom * units.kB * 400)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0, atol=1e-12)


def test_fixed_atoms_get_no_velocity(silicon):
    silicon.set_constraint(FixAtoms([0, 3]))
    draw(silicon, 300.0, np.random.default_rng(0))
    assert not silicon.get_momenta()[[0, 3]].any()
    assert degrees_of_freedom(silicon, "nve") == degrees_of_freedom(silicon, "nvt") == 18


def test_one_atom_has_no_temperature():
    atoms = Atoms("C")
    draw(atoms, 300.0, np.random.default_rng(0))
    assert not atoms.get_momenta().any()


def test_nve_conserves_energy_and_momentum(morse, cluster, tmp_path):
    started(cluster, morse, 600)
    summary = run_md(cluster, 400, MDSettings(timestep=1.0), tmp_path / "run.traj")
    assert np.ptp(summary.totals) < 0.01 * np.ptp(summary.temperatures) * 9 / 2 * units.kB
    assert abs(summary.drift) < 0.1
    assert np.ptp(summary.temperatures) > 100
    np.testing.assert_allclose(cluster.get_momenta().sum(axis=0), 0, atol=1e-10)


def test_a_wrong_force_would_show_in_the_drift(morse, cluster, tmp_path):
    class Scaled(type(morse)):
        def forward(self, graph, **options):
            out = super().forward(graph, **options)
            return out | {"forces": out["forces"] + 0.003 * graph.pos.cross(graph.pos.roll(1, 1), dim=1)}

    started(cluster, Scaled(), 600)
    summary = run_md(cluster, 400, MDSettings(timestep=1.0), tmp_path / "run.traj")
    assert abs(summary.drift) > 1


def test_the_trajectory_the_table_and_the_plot(morse, cluster, tmp_path):
    started(cluster, morse, 300)
    samples = []
    run_md(cluster, 25, MDSettings(interval=10), tmp_path / "run.extxyz", on_step=samples.append)
    frames = ase.io.read(tmp_path / "run.extxyz", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 25]
    assert [frame.info["time"] for frame in frames] == [0.0, 5.0, 10.0, 12.5]
    assert frames[2].get_potential_energy() == pytest.approx(samples[20].potential, abs=1e-6)
    assert frames[2].get_kinetic_energy() == pytest.approx(samples[20].kinetic, abs=1e-6)
    table = np.loadtxt(tmp_path / "run.csv", delimiter=",", skiprows=1)
    assert table.shape == (4, len(COLUMNS))
    np.testing.assert_array_equal(table[:, COLUMNS.index("total")], [samples[i].total for i in (0, 10, 20, 25)])
    assert (tmp_path / "run.png").stat().st_size > 5000


def test_a_trajectory_is_not_overwritten_unasked(morse, cluster, tmp_path):
    started(cluster, morse, 300)
    out = tmp_path / "run.traj"
    run_md(cluster, 10, MDSettings(), out)
    with pytest.raises(InputError, match=r"run\.traj exists"):
        run_md(cluster, 10, MDSettings(), out)
    out.unlink()
    with pytest.raises(InputError, match=r"run\.csv exists"):
        run_md(cluster, 10, MDSettings(), out)
    run_md(cluster, 0, MDSettings(), out, overwrite=True)
    assert len(ase.io.read(out, index=":")) == 1
    with pytest.raises(InputError, match=r"ends in \.traj"):
        run_md(cluster, 10, MDSettings(), tmp_path / "run.pdb")


def test_the_start_leaves_labels_and_velocities_behind(cluster, tmp_path):
    other = cluster.copy()
    other.info["REF_energy"], other.arrays["REF_forces"] = -1.0, np.ones((5, 3))
    other.set_momenta(np.ones((5, 3)))
    ase.io.write(tmp_path / "two.extxyz", [cluster, other], format="extxyz")
    last, first = read_atoms(tmp_path / "two.extxyz"), read_atoms(tmp_path / "two.extxyz@0")
    assert set(last.arrays) == set(first.arrays) == {"numbers", "positions"}
    assert not last.info
    with pytest.raises(InputError, match="no such file"):
        read_atoms(tmp_path / "three.extxyz@0")


def test_a_restart_equals_the_uninterrupted_run(morse, cluster, tmp_path):
    whole = started(cluster.copy(), morse, 600)
    run_md(whole, 60, MDSettings(), tmp_path / "whole.traj")
    run_md(started(cluster, morse, 600), 25, MDSettings(), tmp_path / "parts.traj")
    again, step, time = read_restart(tmp_path / "parts.traj")
    assert (step, time) == (25, 12.5)
    again.calc = Calculator(morse, device="cpu", dtype="float64")
    run_md(again, 35, MDSettings(), tmp_path / "parts.traj", step, time, append=True)
    np.testing.assert_array_equal(again.positions, whole.positions)
    np.testing.assert_array_equal(again.get_momenta(), whole.get_momenta())
    frames = ase.io.read(tmp_path / "parts.traj", index=":")
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 25, 30, 40, 50, 60]
    assert frames[-1].info["time"] == 30.0


def _warm(samples, name, skip=200):
    return np.mean([getattr(sample, name) for sample in samples[skip:]])


def test_langevin_reaches_its_temperature_and_holds_the_centre(morse, cluster):
    started(cluster, morse, 10)
    centre = cluster.get_center_of_mass()
    settings = MDSettings(ensemble="nvt", temperature=500, timestep=4.0, friction=50)
    samples = list(simulate(cluster, 1000, settings))
    assert _warm(samples, "temperature") == pytest.approx(500, rel=0.12)
    np.testing.assert_allclose(cluster.get_center_of_mass(), centre, atol=1e-8)
    assert not cluster.constraints


def test_npt_reaches_its_pressure(morse):
    atoms = bulk("Si", "fcc", a=3.07, cubic=True) * 2
    started(atoms, morse, 300)
    settings = MDSettings(ensemble="npt", temperature=300, timestep=2.0, pressure=50_000, friction=20)
    pressures = []
    for sample in simulate(atoms, 700, settings):
        if sample.step > 200:
            kinetic = 2 * sample.kinetic / sample.volume
            pressures.append((kinetic - atoms.get_stress()[:3].sum()) / 3 / units.bar)
    assert np.mean(pressures) == pytest.approx(50_000, rel=0.15)


def test_npt_needs_a_cell_and_free_atoms(morse, cluster, silicon):
    settings = MDSettings(ensemble="npt")
    with pytest.raises(InputError, match="periodic"):
        next(simulate(started(cluster, morse, 300), 1, settings))
    silicon.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="fixed"):
        next(simulate(started(silicon, morse, 300), 1, settings))


@pytest.mark.parametrize("wrong", [{"ensemble": "nph"}, {"timestep": 0}, {"interval": 0}, {"temperature": -1}])
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        MDSettings(**wrong)


def test_an_atom_that_leaves_stops_the_run_and_the_frames_stay(morse, cluster, tmp_path):
    started(cluster, morse, 300)
    momenta = cluster.get_momenta()
    momenta[1] = cluster.positions[1] * 12
    cluster.set_momenta(momenta)
    with pytest.raises(UnstableError, match=r"step \d+ .*atom 1 \(Si\) has left all others"):
        run_md(cluster, 500, MDSettings(timestep=1.0), tmp_path / "run.traj")
    assert len(ase.io.read(tmp_path / "run.traj", index=":")) >= 2
    assert (tmp_path / "run.png").exists()


def test_absurd_speed_and_temperature_stop_the_run(morse, cluster, tmp_path):
    started(cluster, morse, 300)
    cluster.positions[1] *= 0.02
    with pytest.raises(UnstableError, match=r"moves with|temperature has reached"):
        run_md(cluster, 500, MDSettings(timestep=0.1), tmp_path / "run.traj")


def test_forces_that_are_not_finite_stop_the_run(morse, cluster, tmp_path):
    started(cluster, morse, 300)
    cluster.calc.model.depth.data.fill_(float("nan"))
    with pytest.raises(UnstableError, match=r"step 0 .*force on atom 0 \(C\) is not finite"):
        run_md(cluster, 5, MDSettings(), tmp_path / "run.traj")
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_killed_goes_on_after_its_last_whole_frame(morse, cluster, tmp_path, caplog):
    for out in (tmp_path / "one.traj", tmp_path / "other.extxyz"):
        run_md(started(cluster.copy(), morse, 600), 30, MDSettings(), out)
        data, table = out.read_bytes(), out.with_suffix(".csv")
        out.write_bytes(data[:-100])
        table.write_text(table.read_text()[:-5])
        again, step, time = read_restart(out)
        assert (step, time) == (20, 10.0)
        assert "ends in the middle of a frame" in caplog.text
        again.calc = Calculator(morse, device="cpu", dtype="float64")
        run_md(again, 20, MDSettings(), out, step, time, append=True)
        assert [frame.info["step"] for frame in ase.io.read(out, index=":")] == [0, 10, 20, 30, 40]
        np.testing.assert_array_equal(np.loadtxt(table, delimiter=",", skiprows=1)[:, 0], [0, 10, 20, 30, 40])


def test_a_trajectory_keeps_its_constraints_or_refuses(morse, silicon, tmp_path):
    line = FixedLine([2], (1, 2, 0))
    silicon.set_constraint([FixAtoms([0]), FixCartesian([1], (True, False, False)), line])
    started(silicon, morse, 300)
    with pytest.raises(InputError, match=r"run\.extxyz: extended xyz cannot hold FixedLine: write a \.traj"):
        run_md(silicon, 5, MDSettings(), tmp_path / "run.extxyz")
    assert not list(tmp_path.iterdir())
    for name, held in (("one.traj", 6), ("other.xyz", 4)):
        if name == "other.xyz":
            silicon.set_constraint(silicon.constraints[:2])
        run_md(silicon, 5, MDSettings(ensemble="nvt"), tmp_path / name)
        again, *_ = read_restart(tmp_path / name)
        assert degrees_of_freedom(again, "nvt") == 24 - held
        assert len(again.constraints) <= 3
        assert not again.get_momenta()[0].any() and again.get_momenta()[1, 0] == 0
    molecule_ = started(Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]], constraint=FixCom()), morse, 300)
    run_md(molecule_, 5, MDSettings(ensemble="nvt"), tmp_path / "com.traj")
    assert [type(c) for c in read_restart(tmp_path / "com.traj")[0].constraints] == [FixCom]
    run_md(started(silicon[3:5], morse, 300), 2, MDSettings(ensemble="nvt"), tmp_path / "free.extxyz")
    assert not read_restart(tmp_path / "free.extxyz")[0].constraints


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timestep": 1e12}, r"after step 0: .*flown apart"),
        ({"timestep": 500.0}, r"step 1 .*moves with"),
        ({"timestep": 2.0, "ensemble": "npt", "pressure": 1e9}, r"after step \d: the cell .*placeholder"),
        ({"timestep": 2.0, "ensemble": "npt", "pressure": -1e9}, r"step \d .*has left all others"),
    ],
)
def test_whatever_blows_up_says_so(morse, options, message):
    atoms = started(bulk("Si", "fcc", a=3.07, cubic=True) * 2, morse, 300)
    with pytest.raises(UnstableError, match=message):
        list(simulate(atoms, 20, MDSettings(**options)))


def test_bonds_that_cannot_be_kept_are_an_instability(morse, cluster):
    cluster.set_constraint(FixBondLengths([(0, 1), (0, 2)]))
    with pytest.raises(UnstableError, match="bonds that constraints hold cannot be kept"):
        list(simulate(started(cluster, morse, 300), 20, MDSettings(timestep=100.0)))
