"""State dicts as e3nn's: its modules store their coupling tensors among the weights.

Ours are written under the same names, so that e3nn loads what we save. When we load what e3nn saved, the sign of
each stored block wins over that of the installed e3nn, as it does in e3nn: the weights were trained with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from equitensor.interfaces.e3nn.couplings import relative_sign
from equitensor.nn.tables import Tables
from equitensor.o3 import wigner_3j

_LEFT_RIGHT, _RIGHT = "_compiled_main_left_right", "_compiled_main_right"
# Where e3nn multiplies by a degree 0 without a table: (mode, has_weight) in `forward`, and in `right`.
_SHORT = {
    _LEFT_RIGHT: {("uvw", 1), ("uvu", 1), ("uvv", 1), ("uvv", 0), ("uuw", 1), ("uuu", 1), ("uuu", 0)},
    _RIGHT: {("uvw", 1), ("uvu", 1), ("uvv", 1), ("uuu", 1), ("uuu", 0)},
}


def block_name(degrees: tuple[int, int, int]) -> str:
    """e3nn's buffer of a coupling tensor."""
    return "_w3j_{}_{}_{}".format(*degrees)


def degrees_of(name: str) -> tuple[int, int, int]:
    """The inverse of `block_name`."""
    l1, l2, l3 = map(int, name.removeprefix("_w3j_").split("_"))
    return l1, l2, l3


class StoredConstants(Tables):
    """Base of the products: `_signs` by block name, and `_plan()`, which makes the tables with them."""

    def _stored(self, module: str) -> dict[str, Tensor]:
        """What e3nn's `module` would hold: coupling tensors, and the pairs u < v of each multiplicity."""
        stored = {}
        for item in self._active():
            mode, degrees = item.connection_mode, tuple(ir.l for _, ir in self._irs(item))
            short = min(degrees) == 0 or (module == _LEFT_RIGHT and mode == "uuu" and degrees == (1, 1, 1))
            if not (self._specialized_code and short and (mode, int(item.has_weight)) in _SHORT[module]):
                name = block_name(degrees)
                stored[name] = (self._signs[name] * wigner_3j(*degrees)).to(self.output_mask)
            if "<" in mode:
                copies = self.irreps_in1[item.i_in1].mul
                stored[f"_triu_indices_{copies}"] = torch.triu_indices(
                    copies, copies, 1, device=self.output_mask.device
                )
        return stored

    def _match_tables(self) -> None:
        """Tables that were made anew, in the layer's dtype and on its device."""
        mask = self.output_mask
        for name, table in self._originals.items():
            setattr(self, name, table.to(mask) if table.is_floating_point() else table.to(mask.device))

    def _save_to_state_dict(self, destination, prefix, keep_vars) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for module, made in ((_LEFT_RIGHT, self._did_compile_left_right), (_RIGHT, self._did_compile_right)):
            if made:
                destination.update({f"{prefix}{module}.{name}": t for name, t in self._stored(module).items()})

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors) -> None:
        marks = tuple(f"{prefix}{module}." for module in _SHORT)
        stored = {key: block for key, block in state_dict.items() if key.startswith(marks)}
        own = {key: value for key, value in state_dict.items() if key not in stored}
        super()._load_from_state_dict(own, prefix, metadata, strict, missing, unexpected, errors)
        changed = False
        for key, block in stored.items():
            name = key.rpartition(".")[2]
            if not name.startswith("_w3j_"):  # pairs u < v, or what torch.fx writes beside them in a copied module
                continue
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
            self._match_tables()
