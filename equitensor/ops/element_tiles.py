"""Atoms sorted by element into tiles of equal length, so that the weights of one element serve many atoms at once.

Plain operations that TorchScript can follow (it reads the annotations: no `from __future__ import annotations`).
"""

from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS_COST = 4  # to fetch the weights of a tile costs as much as this many atoms


class Tiles(NamedTuple):
    """B tiles of `length` places each.

    atoms (B length,): the atom in each place (any atom where it is empty); places (n,): the place of each atom;
    present (E',): the elements that occur; element (B,): index into `present` of each tile.
    """

    atoms: Tensor
    places: Tensor
    present: Tensor
    element: Tensor
    length: int


def element_tiles(element_index: Tensor, num_elements: int) -> Tiles:
    """Tiles of the atoms of each element (n,), all elements below num_elements."""
    counts: list[int] = torch.bincount(element_index, minlength=num_elements).tolist()
    length = tile_length(counts)
    present: list[int] = []
    element: list[int] = []
    sorted_places: list[int] = []
    for number, count in enumerate(counts):
        if count > 0:
            start = len(element) * length
            for place in range(start, start + count):
                sorted_places.append(place)
            for _ in range((count + length - 1) // length):
                element.append(len(present))
            present.append(number)
    order = torch.argsort(element_index, stable=True)
    occupied = torch.tensor(sorted_places, device=order.device)
    atoms = order.new_zeros(len(element) * length).index_copy(0, occupied, order)
    places = order.new_zeros(len(order)).index_copy(0, order, occupied)
    return Tiles(
        atoms, places, torch.tensor(present, device=order.device), torch.tensor(element, device=order.device), length
    )


def tile_length(counts: list[int], weights_cost: int = WEIGHTS_COST) -> int:
    """The length with the least work: places to fill, and weights to fetch for each tile."""
    longest = 1
    for count in counts:
        longest = max(longest, count)
    lengths = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, longest]
    best, least = 1, -1
    for length in lengths:
        if length <= min(longest, 128):
            tiles = 0
            for count in counts:
                tiles += (count + length - 1) // length
            work = tiles * (length + weights_cost)
            if least < 0 or work <= least:
                best, least = length, work
    return best


def to_tiles(x: Tensor, tiles: Tiles, channels_last: bool) -> Tensor:
    """(n, d, C) if channels_last, else (n, C, d), to (d, B C, length)."""
    places = x.index_select(0, tiles.atoms).unflatten(0, (-1, tiles.length))
    places = places.permute(2, 0, 3, 1) if channels_last else places.permute(3, 0, 2, 1)
    return places.flatten(1, 2).contiguous()


def from_tiles(z: Tensor, tiles: Tiles, channels: int, channels_last: bool) -> Tensor:
    """(d, B C, length) back to (n, d, C) if channels_last, else (n, C, d)."""
    places = z.unflatten(1, (-1, channels))
    places = places.permute(1, 3, 0, 2) if channels_last else places.permute(1, 3, 2, 0)
    return places.flatten(0, 1).index_select(0, tiles.places)
