"""DimeNet's directional step: messages that meet at an atom, combined by their angles, without a list of triplets."""

import torch
from torch import Tensor


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
    everything = torch.bmm(harmonics * components, _density(messages, harmonics))
    back = torch.einsum("nklc,l->nkc", messages, sign)
    return (everything - back).flatten(0, 1).index_select(0, rev)


def _density(messages: Tensor, harmonics: Tensor) -> Tensor:
    """A[i, lm, c] = sum_k messages[i, k, l, c] harmonics[i, k, lm], over the neighbour slots k of atom i.

    messages (n, width, L+1, C), harmonics (n, width, (L+1)^2), zero in the empty slots -> (n, (L+1)^2, C).
    """
    # split and unbind, not slices: the derivative of a slice fills an array of zeros, that of a split does not
    by_degree = harmonics.split([2 * l + 1 for l in range(messages.shape[2])], dim=2)
    parts = [torch.bmm(y.transpose(1, 2), m) for y, m in zip(by_degree, messages.unbind(2), strict=True)]
    return torch.cat(parts, dim=1)
