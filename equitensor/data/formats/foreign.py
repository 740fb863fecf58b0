"""Forms of data that are not read here: how to recognise them, and how to get what they hold into one that is."""

from pathlib import Path

from equitensor.data.compressed import DAMAGED, Decompressed
from equitensor.data.formats import hdf5

_FRAME = (
    'one Atoms(...) per frame, atoms.info["REF_energy"] = E, atoms.arrays["REF_forces"] = F, '
    'ase.io.write("data.xyz", frames) (for a periodic cell also atoms.info["REF_stress"])'
)
_ADVICE = {
    "hdf5": (
        "HDF5 in no layout that is read (SPICE, ANI-1x, ANI-1ccx, ANI-2x: groups with atomic_numbers or species beside "
        f"conformations or coordinates); open it with h5py and write {_FRAME}"
    ),
    "no h5py": "HDF5 of SPICE or ANI is read with h5py, an extra: pip install equitensor[hdf5]",
    "npz": (
        "a numpy file in no layout that is read (MD17, rMD17, sGDML: an .npz with z and R, or nuclear_charges and "
        f"coords); np.load it and write {_FRAME}"
    ),
    "mtp": (
        "configurations of MLIP (MTP), which are not read; for each block between BEGIN_CFG and END_CFG write "
        f"{_FRAME}, with Supercell as the cell, Energy in eV, fx fy fz as the forces, your elements for the types, and "
        "PlusStress, a virial in eV, as REF_virial in place of REF_stress"
    ),
    "pymatgen": (
        "pymatgen's JSON is not read; atoms = AseAtomsAdaptor.get_atoms(Structure.from_dict(entry)) of "
        f"pymatgen.io.ase makes Atoms of an entry; write {_FRAME} (stresses of VASP are in kbar with the opposite "
        "sign: divide them by -1602.18)"
    ),
    "pickle": (
        "pickles are programs and are not run; if you trust it (a data frame of ACE, say), df = pandas.read_pickle("
        f"file), with atoms from df.ase_atoms, E from df.energy and F from df.forces, and write {_FRAME}"
    ),
    "torch": f"files of torch.save are pickles, which are not run; if you trust it, torch.load it and write {_FRAME}",
    "archive": "an archive; unpack it and name what is in it",
    "qm9": (
        "XYZ in the form of QM9, which is not read: energies stand in the comment line (U0, in Hartree, is the 13th "
        "word), numbers may be written 1.5*^-6, and there are no forces; make of symbols and positions (columns 1-4) "
        'one Atoms(...) per molecule, atoms.info["REF_energy"] = U0 * 27.211386, ase.io.write("data.xyz", frames)'
    ),
}
_BY_ENDING = {
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), "hdf5"),
    **dict.fromkeys((".npz", ".npy"), "npz"),
    **dict.fromkeys((".pkl", ".pckl", ".pickle", ".p"), "pickle"),
    **dict.fromkeys((".pt", ".pth"), "torch"),
    **dict.fromkeys((".tar", ".tgz", ".zip", ".7z"), "archive"),
}
_COMPRESSED = {".gz", ".gzip", ".bz2", ".xz"}


def advice(path: Path) -> str | None:
    """A sentence on how to get a file in that is known but not read, or None."""
    kind = None if path.is_dir() else _file(path)
    if kind == "hdf5" and not hdf5.has_h5py():
        kind = "no h5py"
    return None if kind is None else _ADVICE[kind]


def _file(path):
    endings = [suffix.lower() for suffix in path.suffixes[-2:]]
    ending = endings[0] if len(endings) == 2 and endings[1] in _COMPRESSED else (endings or [""])[-1]
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    start = _start(path, 1 << 16 if ending == ".json" else 512)
    if start.startswith(hdf5.SIGNATURE):
        return "hdf5"
    if b"BEGIN_CFG" in start.upper():
        return "mtp"
    if ending == ".json" and b'"@module"' in start and b"pymatgen" in start:
        return "pymatgen"
    if ending == ".xyz" and start.partition(b"\n")[2].startswith(b"gdb "):
        return "qm9"
    return None


def _start(path, size):
    try:
        with Decompressed(path) as file:
            return file.read(size)
    except DAMAGED:
        return b""
