"""Writes gaunt_tables.h: the Gaunt tensors of degree 0 to L as lists, for products that are unrolled at compile time.

Run from the root of the repository: python csrc/core/potential/gaunt_tables.py > csrc/core/potential/gaunt_tables.h
"""

from equitensor.nn.natural_coupling import natural_coupling

HEAD = """// The Gaunt tensors T_ijk of degree 0 to L, totally symmetric: for every pair i <= j, all k.
// Made by gaunt_tables.py.
#pragma once

namespace equitensor {

struct GauntEntry {
  int i, j, k;
  double value;
};

template <int L>
struct Gaunt;
"""


def entries(lmax: int):
    """(i, j, k, value) with i <= j, sorted."""
    tensor = natural_coupling(lmax, "gaunt")
    k, i, j, _ = tensor.index[2].tolist()
    rows = zip(i, j, k, tensor.coefficients[2].tolist(), strict=True)
    return sorted(row for row in rows if row[0] <= row[1])


def main() -> None:
    print(HEAD)
    for lmax in range(1, 5):
        rows = entries(lmax)
        print(f"template <>\nstruct Gaunt<{lmax}> {{\n  static constexpr int count = {len(rows)};")
        print("  static constexpr GauntEntry entries[] = {")
        for start in range(0, len(rows), 4):
            print("      " + " ".join(f"{{{i}, {j}, {k}, {value!r}}}," for i, j, k, value in rows[start : start + 4]))
        print("  };\n};\n")
    print("}  // namespace equitensor")


if __name__ == "__main__":
    main()
