import torch

from equinet.nn.sphere.degrees import degree_index, scale_degrees


def test_every_layer_has_an_index_of_its_own():
    """A table that is a layer's buffer too makes torch.compile fail."""
    first, second = degree_index(2), degree_index(2)
    first.zero_()
    assert second.tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    scaled = scale_degrees(torch.ones(4, 1), torch.tensor([[1.0], [2.0]]))
    assert scaled.flatten().tolist() == [1, 2, 2, 2]
