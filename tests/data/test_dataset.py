"""Graphs out of snapshots, in this process and in DataLoader workers."""

import pickle

import numpy as np
import pytest
import torch

from equitensor.data import GraphDataset, Memory, Store, StoreWriter, graph_loader, open_snapshots
from equitensor.errors import InputError
from equitensor.graph import Structure


def molecule(i, **labels):
    pos = np.array([[0.0, 0, 0], [1.0 + 0.01 * i, 0, 0], [0, 1.1, 0]])
    return Structure(np.array([8, 1, 1]), pos, np.zeros((3, 3)), np.zeros(3, bool), source=f"m{i}", **labels)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "water.lmdb"
    with StoreWriter(path) as writer:
        for i in range(12):
            writer.add(molecule(i, energy=float(i), forces=np.full((3, 3), float(i))))
        writer.finish()
    path.chmod(0o444)
    return Store(path)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_the_same_store(store, context):
    dataset = GraphDataset(store, np.arange(2, 12), cutoff=3.0)
    assert dataset[0].energy.item() == 2.0  # the environment is open here before the workers start
    loader = graph_loader(dataset, batch_size=4, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert torch.cat([b.energy for b in batches]).tolist() == [float(i) for i in range(2, 12)]
    assert torch.cat([b.index for b in batches]).tolist() == list(range(2, 12))
    assert store[0].energy == 0.0


def test_a_graph_is_pickled_as_arrays_unless_it_has_gradients(store, monkeypatch):
    graph = next(iter(graph_loader(GraphDataset(store, cutoff=3.0), batch_size=3)))
    leaf = graph.replace(pos=graph.pos.clone().requires_grad_())
    assert pickle.loads(pickle.dumps(leaf)).pos.requires_grad
    monkeypatch.setattr(torch.Tensor, "__reduce_ex__", None)  # a tensor in it would fail
    back = pickle.loads(pickle.dumps(graph)).arrays()
    for name, array in graph.arrays().items():
        np.testing.assert_array_equal(back[name], array)
    with pytest.raises(TypeError):
        pickle.dumps(leaf)


def test_a_graph_shows_its_sizes(store):
    assert repr(GraphDataset(store, cutoff=3.0)[0]) == "AtomicGraph(structures=1, atoms=3, edges=6)"


def test_a_pickled_store_opens_its_file_again(store):
    assert pickle.loads(pickle.dumps(store))[3].energy == 3.0


def test_graphs_are_kept_when_asked(store):
    cached, built = (GraphDataset(store, cutoff=3.0, cache=flag) for flag in (True, False))
    assert cached[1] is cached[1]
    assert built[1] is not built[1]
    assert torch.equal(cached[1].pos, built[1].pos)


def test_missing_labels_are_masked_not_zero():
    snapshots = Memory([molecule(0, energy=1.0), molecule(1, forces=np.ones((3, 3)))])
    batch = next(iter(graph_loader(GraphDataset(snapshots, cutoff=3.0), batch_size=2)))
    assert batch.energy.isnan().tolist() == [False, True]
    assert batch.forces.isnan().all(dim=1).tolist() == [True] * 3 + [False] * 3
    assert batch.stress.isnan().all()


def test_a_graph_that_cannot_be_built_names_its_record():
    broken = molecule(5).replace(pos=np.full((3, 3), np.nan))
    with pytest.raises(InputError, match="m5"):
        GraphDataset(Memory([broken]), cutoff=3.0)[0]


def test_sources_with_keys_and_weights_of_their_own(tmp_path):
    for name, key in (("a", "E1"), ("b", "E2")):
        text = f"3\nProperties=species:S:1:pos:R:3 {key}=-7.0 config_weight=0.5\nO 0 0 0\nH 1 0 0\nH 0 1 0\n"
        (tmp_path / f"{name}.xyz").write_text(text)
    source = {"path": tmp_path / "b.xyz", "weight": 4, "energy_key": "E2"}
    both = open_snapshots([tmp_path / "a.xyz", source], energy_key="E1")
    assert [(s.energy, s.weight) for s in both] == [(-7.0, 0.5), (-7.0, 2.0)]
    with pytest.raises(InputError, match=r"a\.xyz: energy_key: no frame has 'E2'"):
        open_snapshots([tmp_path / "a.xyz", {**source, "path": tmp_path / "a.xyz"}], energy_key="E1")
    with pytest.raises(InputError, match="without a path"):
        open_snapshots({"weight": 2})
