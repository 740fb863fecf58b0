"""DimeNet's directional step: messages that meet at an atom, combined by their angles, without a list of triplets."""

import torch
from torch import Tensor

from equitensor.ops.density import density


def triplet_sum(messages: Tensor, harmonics: Tensor, rev: Tensor) -> Tensor:
    """s_ji,c = sum over k != i of sum_l m_kj,l,c P_l(r_kj . r_ji), for directed edges k -> j -> i.

    P_l(u . v) = sum_m Y_lm(u) Y_lm(v) / (2l+1): a density of the messages on j, read out along j -> i. The edge that
    comes back, k = i of the same image, is in the density too; its cosine is -1, and it is taken off.

    messages (n, width, L+1, C) and harmonics (n, width, (L+1)^2), 'component' normalised, in rows by receiver, zero
    or finite in the empty slots where messages are zero; rev (e,), for each wanted edge the slot of its reverse.
    Returns (e, C).
    """
    degree = torch.arange(messages.shape[2], device=messages.device)
    sign = (1 - 2 * (degree % 2)).to(messages.dtype)
    # In j's row stands the edge i -> j, which points the other way: Y_lm(r_ji) = (-1)^l Y_lm(r_ij).
    components = (sign / (2 * degree + 1)).repeat_interleave(2 * degree + 1, output_size=harmonics.shape[2])
    everything = torch.bmm(harmonics * components, density(messages, harmonics))
    back = torch.einsum("nklc,l->nkc", messages, sign)
    return (everything - back).flatten(0, 1).index_select(0, rev)
