"""Energies and forces of a trained potential by the compiled evaluator: numpy arrays, no torch."""

import ctypes
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError

from equitensor.errors import InputError
from equitensor.interfaces.evaluator_library import EXCHANGE, WAIT, Exchange, Result, library, why_not
from equitensor.models.by_name import model_path
from equitensor.models.error_bars import of_bytes
from equitensor.models.header import refuse_without_d3

PRECISIONS = {"float32": 32, "float64": 64}


class Model:
    """A model file, open for evaluation: any number of systems, in any threads, may share it.

    elements (k,) atomic numbers, rising; cutoff in Angstrom; num_features; header, what the file says of itself;
    error_bars, or None, and num_sums, how many sums over atoms `energy_std` takes (0 without); d3, the dispersion that
    its energies lack, as "pbe-bj", or None.
    Raises InputError for what is not a model file, with the reason for a model that only torch evaluates, and for one
    with a d3 unless without_d3 is said.
    """

    def __init__(self, source, without_d3: bool = False):
        """source: a path, the name of a shipped model, or the bytes of a model file."""
        self._without_d3 = without_d3
        if isinstance(source, bytes):
            self.name, self._bytes = "the model", source
        else:
            self.name, self._bytes = str(source), model_path(source).read_bytes()
        self._open()

    def _open(self):
        lib = _library()
        handle = ctypes.c_void_p()
        if lib.equitensor_model_read_without_d3(self._bytes, len(self._bytes), ctypes.byref(handle)):
            raise InputError(f"{self.name}: {_message(lib)}")
        self.handle = handle
        weakref.finalize(self, lib.equitensor_model_close, handle)
        name = lib.equitensor_model_d3(handle)
        self.d3 = None if name is None else name.decode(errors="replace")
        if not self._without_d3:
            refuse_without_d3(self.name, self.d3)
        count = lib.equitensor_model_num_elements(handle)
        self.elements = np.array(lib.equitensor_model_elements(handle)[:count], dtype=np.int64)
        self.cutoff = float(lib.equitensor_model_cutoff(handle))
        self.num_features = int(lib.equitensor_model_num_features(handle))
        self.num_sums = int(lib.equitensor_model_num_sums(handle))
        try:
            self.header = json.loads(lib.equitensor_model_header(handle))
        except ValueError as error:
            raise InputError(f"{self.name}: its header is damaged ({error}): take another copy of the file") from None
        try:
            self.error_bars = of_bytes(self._bytes, self.header)
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            reason = f"its error bars are damaged ({error!r}): take another copy of the file"
            raise InputError(f"{self.name}: {reason}") from None

    def energy_std(self, sums: np.ndarray) -> float:
        """The standard deviation of the energy in eV, from `Evaluated.sums`, of all parts of a structure added up."""
        sums = _array(sums, (self.num_sums,), "sums")
        return float(_library().equitensor_model_energy_std(self.handle, sums.ctypes.data))

    def __getstate__(self):
        return {"name": self.name, "_bytes": self._bytes, "_without_d3": self._without_d3}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._open()

    def __deepcopy__(self, _):
        return self


def instruction_sets() -> list[str]:
    """Those of this processor that the evaluator can use, the widest first."""
    names, lib = [], _library()
    while name := lib.equitensor_instructions(len(names)):
        names.append(name.decode())
    return names


@dataclass(frozen=True)
class Evaluated:
    """energy eV; virial (3, 3) eV, -sum r (x) dE/dr, symmetric; energies (owned,) eV, E0s included; forces (total, 3)
    eV/Angstrom; where asked for virials (total, 6) eV, xx, yy, zz, xy, xz, yz, features (owned, num_features), and of
    error bars forces_std (owned,) eV/Angstrom, novelty (owned,) and sums (num_sums,), see `Model.energy_std`."""

    energy: float
    virial: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    virials: np.ndarray | None
    features: np.ndarray | None
    forces_std: np.ndarray | None
    novelty: np.ndarray | None
    sums: np.ndarray | None


class System:
    """Atoms and neighbours of one simulation. It belongs to one thread at a time.

    Args: precision, "float32" or "float64", of the arithmetic (arrays are float64); threads, how many a call uses: the
    numbers do not depend on it; instructions, one of `instruction_sets()`, the widest unless named.
    """

    def __init__(self, model: Model, precision: str = "float64", threads: int = 1, instructions: str | None = None):
        lib, handle = _library(), ctypes.c_void_p()
        name = (instructions or instruction_sets()[0]).encode()
        if lib.equitensor_system_new_with(model.handle, PRECISIONS[precision], threads, name, ctypes.byref(handle)):
            raise InputError(_message(lib))
        self.model, self.precision, self.threads = model, precision, threads
        self._lib, self._handle = lib, handle
        weakref.finalize(self, lib.equitensor_system_free, handle)
        self._owned: int | None = None  # none before neighbours are set
        self._total = self._edges = 0

    def set_neighbors(self, numbers, start, sender, owned: int | None = None) -> None:
        """Atoms and a full list of neighbours, until the next call; pairs beyond the cutoff are passed over.

        Args: numbers (total,) atomic numbers, 0 for an atom that takes no part; the neighbours of atom i are
        sender[start[i]:start[i + 1]]; owned, how many atoms have energies (all): those after them are ghosts.
        """
        numbers, sender = (np.ascontiguousarray(array, dtype=np.int32) for array in (numbers, sender))
        start = np.ascontiguousarray(start, dtype=np.int64)
        owned = len(numbers) if owned is None else owned
        if start.shape != (owned + 1,) or sender.shape != (start[-1],):
            raise InputError(f"start is {start.shape}, sender {sender.shape}: give ({owned + 1},) and (start[-1],)")
        self._owned = None
        pointers = (array.ctypes.data for array in (numbers, start, sender))
        self._check(self._lib.equitensor_system_neighbors(self._handle, owned, len(numbers), *pointers))
        self._owned, self._total, self._edges = owned, len(numbers), len(sender)

    def evaluate(
        self,
        pos,
        shift=None,
        virials=False,
        features=False,
        forward=None,
        reverse=None,
        border=None,
        wait=None,
        error_bars=False,
    ) -> Evaluated:
        """Energies and their derivatives at positions (total, 3) in Angstrom.

        Args: shift (edges, 3) in Angstrom: the vector from neighbour j to atom i is pos_i - pos_j + shift; virials,
        features, error_bars, whether these are wanted; forward, reverse, functions of an array (total, width) that fill
        the ghosts' rows from their owners' and add them to their owners'; border, how many atoms come before those that
        neither have ghosts nor neighbour some (all); wait, called after forward and reverse, before what they change
        is read. Raises InputError for positions that are not finite, for atoms in one place, for a border before an
        atom that neighbours a ghost, and for error bars that the model does not have.
        """
        if self._owned is None:
            raise InputError("the system has no neighbours yet: call set_neighbors")
        pos = _array(pos, (self._total, 3), "pos")
        shift = None if shift is None else _array(shift, (self._edges, 3), "shift")
        energies, forces = np.zeros(self._owned), np.zeros((self._total, 3))
        virials = np.zeros((self._total, 6)) if virials else None
        features = np.zeros((self._owned, self.model.num_features)) if features else None
        forces_std, novelty, sums = self._error_bar_arrays(self._owned) if error_bars else (None, None, None)
        result = Result()
        result.energies, result.forces = energies.ctypes.data, forces.ctypes.data
        result.virials, result.features = _address(virials), _address(features)
        result.forces_std, result.novelty, result.sums = map(_address, (forces_std, novelty, sums))
        ghosts = None
        if forward is not None or reverse is not None:
            ghosts = _Ghosts(forward, reverse, wait, self._owned if border is None else border, self._total)
        exchange = ghosts and ctypes.byref(ghosts.exchange)
        code = self._lib.equitensor_system_evaluate(
            self._handle, pos.ctypes.data, _address(shift), exchange, ctypes.byref(result)
        )
        if ghosts is not None and ghosts.error is not None:
            raise ghosts.error
        self._check(code)
        xx, yy, zz, xy, xz, yz = result.virial
        virial = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return Evaluated(result.energy, virial, energies, forces, virials, features, forces_std, novelty, sums)

    def _error_bar_arrays(self, owned: int) -> tuple[np.ndarray, ...]:
        return np.empty(owned), np.empty(owned), np.empty(self.model.num_sums)

    def _check(self, code: int) -> None:
        if code:
            raise InputError(_message(self._lib))


class _Ghosts:
    """The callbacks as C functions; an exception in one stops the evaluation and is kept."""

    def __init__(self, forward, reverse, wait, border: int, total: int):
        self.error: BaseException | None = None
        self._total = total
        passing = (EXCHANGE(self._kept(self._of_rows(f))) if f else EXCHANGE() for f in (forward, reverse))
        self.exchange = Exchange(None, border, *passing, WAIT(self._kept(lambda _: wait())) if wait else WAIT())

    def _of_rows(self, function: Callable):
        def call(_, rows, width, precision):
            kind = ctypes.c_float if precision == 32 else ctypes.c_double
            size = self._total * width
            array = np.ctypeslib.as_array(ctypes.cast(rows or 0, ctypes.POINTER(kind)), (size,)) if size else []
            function(np.reshape(array, (self._total, width)))

        return call

    def _kept(self, function: Callable):
        def call(*arguments):
            try:
                function(*arguments)
            except BaseException as error:
                self.error = error
                return 1
            return 0

        return call


def _library():
    lib = library()
    if lib is None:
        raise InputError(f"the compiled evaluator is not here: {why_not()}")
    return lib


def _message(lib) -> str:
    return lib.equitensor_message().decode(errors="replace")


def _array(values, shape, name) -> np.ndarray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != shape:
        raise InputError(f"{name} is {array.shape}: give {shape}")
    return array


def _address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data
