from itertools import permutations

import torch

from equinet.o3 import degree_index, gaunt_tensor, power_variance


def test_power_variance_is_wicks_theorem() -> None:
    lmax, lmax_out = 2, 3
    second = gaunt_tensor(lmax, lmax, 2 * lmax)
    third = torch.einsum("abe,eck->abck", second, gaunt_tensor(2 * lmax, lmax, lmax_out))
    third = sum(third.permute(*order, 3) for order in permutations(range(3))) / 6
    pairs = torch.einsum("aabk,bcck->k", third, third)
    expected = 9 * pairs + 6 * torch.einsum("abck,abck->k", third, third)
    degree = degree_index(lmax_out)
    torch.testing.assert_close(power_variance(lmax, lmax_out, 3)[degree], expected)
    square = gaunt_tensor(lmax, lmax, lmax_out)
    expected = torch.einsum("aak->k", square) ** 2 + 2 * square.square().sum((0, 1))
    torch.testing.assert_close(power_variance(lmax, lmax_out, 2)[degree], expected)
