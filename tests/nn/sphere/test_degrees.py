import torch

from equinet.nn.sphere.degrees import scale_degrees


def test_every_degree_has_a_factor_of_its_own() -> None:
    scaled = scale_degrees(torch.ones(4, 1), torch.tensor([[1.0], [2.0]]))
    assert scaled.flatten().tolist() == [1, 2, 2, 2]
