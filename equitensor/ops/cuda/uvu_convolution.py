"""The uvu convolution by csrc/cuda/uvu_convolution.cu; its schema and its reference are in ops/uvu_convolution.py."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from equitensor.ops.cuda import module
from equitensor.ops.cuda.edges import Remembered, assert_below, by_node
from equitensor.ops.cuda.proof import Draw, few
from equitensor.ops.cuda.source import source
from equitensor.ops.cuda.uvu_tables import Shape, WantedTerms, build_problem, tables
from equitensor.ops.uvu_paths import unpack_paths

FILE = "uvu_convolution.cu"


class Operands(NamedTuple):
    """Tangents are None where they are zero; a, b and M' are what x, w and M are moved to. Channels last."""

    x: Tensor
    a: Tensor | None
    y: Tensor
    h_y: Tensor | None
    w: Tensor
    b: Tensor | None
    g: Tensor | None


class Compiled:
    """A problem, and the texts of its kernels so far by the terms that are wanted."""

    def __init__(self, table: Tensor, plan: Tensor, widths: tuple[int, int, int, int], dtype: torch.dtype) -> None:
        self.problem = build_problem(unpack_paths(plan.cpu(), table.cpu()), widths, dtype)
        self.texts: dict[WantedTerms, tuple[str, Shape]] = {}

    def get(self, device: torch.device, terms: WantedTerms) -> tuple[module.Kernels, Shape]:
        if terms not in self.texts:
            self.texts[terms] = tables(self.problem, terms)
        text, shape = self.texts[terms]
        return module.load(source(FILE, text), device), shape


_compiled = Remembered(Compiled)


class Launch(NamedTuple):
    """One problem compiled for the terms that are wanted, and the edges it runs over."""

    kernels: module.Kernels
    shape: Shape
    sender: Tensor
    receiver: Tensor
    nodes: int

    def receive(self, at: Operands, z: Tensor | None, of_w: Tensor | None, need_y: bool) -> Tensor | None:
        """Fill z and of_w; the gradient w.r.t. y, where it is needed."""
        order, start = by_node(self.receiver, self.nodes)
        parts = (self.shape.receiver_parts * self.shape.tiles, *at.y.shape)
        of_y = at.y.new_empty(parts) if need_y else None
        lists = (len(self.sender), order, start, self.sender)
        self._launch("uvu_receive", self.shape.receiver_parts, (*lists, *at, z, of_y, of_w))
        return None if of_y is None else of_y.sum(0)

    def send(self, at: Operands, of_x: Tensor) -> None:
        """Fill of_x."""
        order, start = by_node(self.sender, self.nodes)
        self._launch("uvu_send", self.shape.sender_parts, (order, start, self.receiver, *at[2:], of_x))

    def channels_last(self, at: Operands) -> Operands:
        """x, a and g with their blocks (C, 2 l + 1) turned."""
        x = self._turned("uvu_turn_x", at.x)
        a = x if at.a is at.x else None if at.a is None else self._turned("uvu_turn_x", at.a)
        return at._replace(x=x, a=a, g=None if at.g is None else self._turned("uvu_turn_z", at.g))

    def _turned(self, name: str, rows: Tensor) -> Tensor:
        turned = torch.empty_like(rows)
        self.kernels.launch(name, (len(rows), 1, 1), (self.shape.lanes * self.shape.rows, 1, 1), (rows, turned))
        return turned

    def _launch(self, name: str, parts: int, arguments: tuple) -> None:
        blocks = -(-self.nodes // self.shape.rows)
        grid, block = (blocks, self.shape.tiles, parts), (self.shape.lanes, self.shape.rows, 1)
        self.kernels.launch(name, grid, block, (self.nodes, *arguments))


def small(draw: Draw, operands: tuple, constants: tuple) -> tuple[tuple, tuple]:
    """Few nodes and edges in any order: none to the first node, and more to another than a block holds at once."""
    (x, y, w), (_, _, table, plan, width) = operands, constants
    nodes = few(int(plan[:, 4].max()) if len(plan) else 1)
    edges = 2 * nodes + 20
    receiver = draw.integers(1, nodes, edges)
    receiver[draw.integers(0, edges, 20)] = nodes - 1
    rows = draw.rows(x, nodes), draw.rows(y, edges), draw.rows(w, edges)
    return rows, (draw.integers(0, nodes, edges), receiver, table, plan, width)


def values(x, y, w, sender, receiver, table, plan, width):
    z = x.new_zeros(x.shape[0], width)
    at = _operands(x, x, y, None, w, None, None)
    if launch := _prepare(at, width, sender, receiver, table, plan, WantedTerms(moved_x=True, sums=True)):
        launch.receive(launch.channels_last(at), z, None, False)
    return z


def gradients(x, y, w, g, need_x, need_y, need_w, sender, receiver, table, plan, width):
    of_x, of_y, of_w = (
        torch.zeros_like(t, memory_format=torch.contiguous_format) if need else t.new_empty(0)
        for t, need in zip((x, y, w), (need_x, need_y, need_w), strict=True)
    )
    at = _operands(x, x, y, None, w, w, g)
    terms = WantedTerms(moved_x=True, wanted_y=need_y, wanted_w=need_w, sends=need_x, gradients=True)
    if launch := _prepare(at, width, sender, receiver, table, plan, terms):
        at = launch.channels_last(at)
    if launch and (need_y or need_w):
        by_y = launch.receive(at, None, of_w if need_w else None, need_y)
        of_y = by_y if need_y else of_y
    if launch and need_x:
        launch.send(at, of_x)
    return of_x, of_y, of_w


def tangents(x, y, w, g, h_x, h_y, h_w, sender, receiver, table, plan, width):
    of_g, of_x, of_y, of_w = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (g, x, y, w))
    at = _operands(x, h_x, y, h_y, w, h_w, g)
    moved = [t is not None for t in (h_x, h_y, h_w)]
    need_y, need_w, sends = moved[0] or moved[2], moved[0] or moved[1], moved[1] or moved[2]
    terms = WantedTerms(*moved, sums=True, wanted_y=need_y, wanted_w=need_w, sends=sends)
    if launch := _prepare(at, width, sender, receiver, table, plan, terms):
        at = launch.channels_last(at)
        by_y = launch.receive(at, of_g, of_w if need_w else None, need_y)
        of_y = by_y if need_y else of_y
        if sends:
            launch.send(at, of_x)
    return of_g, of_x, of_y, of_w


def _operands(x: Tensor, a, y: Tensor, h_y, w: Tensor, b, g) -> Operands:
    a, h_y, b, g = (None if t is None else t.contiguous() for t in (a, h_y, b, g))
    return Operands(x.contiguous(), a, y.contiguous(), h_y, w.contiguous(), b, g)


def _prepare(at: Operands, width: int, sender, receiver, table, plan, terms: WantedTerms) -> Launch | None:
    """None where there is nothing to compute."""
    nodes = at.x.shape[0]
    compiled = _compiled(table, plan, (at.x.shape[1], at.y.shape[1], at.w.shape[1], width), at.x.dtype)
    if not (nodes and len(sender) and compiled.problem.paths):
        return None
    assert_below(sender, nodes, f"an edge joins an atom that is not among the {nodes}")
    kernels, shape = compiled.get(at.x.device, terms)
    return Launch(kernels, shape, sender.contiguous(), receiver.contiguous(), nodes)
