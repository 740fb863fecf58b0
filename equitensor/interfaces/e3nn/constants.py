"""State dicts as e3nn's: its modules store their coupling tensors among the weights.

Ours are written under the same names, so that e3nn loads what we save. When we load what e3nn saved, the sign of
each stored block wins over that of the installed e3nn, as it does in e3nn: the weights were trained with it.
"""

from __future__ import annotations

from equitensor.interfaces.e3nn.couplings import relative_sign
from equitensor.nn.tables import Tables
from equitensor.o3 import wigner_3j

_MODULES = ("_compiled_main_left_right", "_compiled_main_right")
_DENSE_MODES = ("uvuv", "uvu<v", "u<vw")  # e3nn has no short form of these for a degree 0


def block_name(degrees: tuple[int, int, int]) -> str:
    """e3nn's buffer of a coupling tensor."""
    return "_w3j_{}_{}_{}".format(*degrees)


def degrees_of(name: str) -> tuple[int, int, int]:
    """The inverse of `block_name`."""
    return tuple(map(int, name.removeprefix("_w3j_").split("_")))


class StoredConstants(Tables):
    """Base of the products: `_signs` by block name, and `_plan()`, which makes the tables with them."""

    def _stored_blocks(self) -> list[str]:
        stored = {}
        for item in self._active():
            degrees = tuple(ir.l for _, ir in self._irs(item))
            if min(degrees) > 0 or item.connection_mode in _DENSE_MODES or not self._specialized_code:
                stored[block_name(degrees)] = None
        return list(stored)

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        compiled = (self._did_compile_left_right, self._did_compile_right)
        for module in (name for name, made in zip(_MODULES, compiled, strict=True) if made):
            for name in self._stored_blocks():
                block = self._signs[name] * wigner_3j(*degrees_of(name))
                destination[f"{prefix}{module}.{name}"] = block.to(self.output_mask)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        marks = tuple(f"{prefix}{module}." for module in _MODULES)
        stored = {key: block for key, block in state_dict.items() if key.startswith(marks)}
        own = {key: value for key, value in state_dict.items() if key not in stored}
        super()._load_from_state_dict(own, prefix, metadata, strict, missing, unexpected, errors)
        changed = False
        for key, block in stored.items():
            name = key.rpartition(".")[2]
            if name not in self._signs:
                unexpected.append(key)
                continue
            try:
                sign = relative_sign(block, *degrees_of(name))
            except ValueError as error:
                errors.append(f"{key}: {error}")
                continue
            changed = changed or sign != self._signs[name]
            self._signs[name] = sign
        if changed:
            self._plan()
            self.coupling = self._originals["coupling"].to(self.output_mask)
