import torch

from equinet.nn import GauntProduct
from equinet.nn.sphere.paths import paths_per_degree


def test_products_have_about_unit_variance() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 4000, 16, 8)
    for odd in (False, True):
        z = GauntProduct(3, 3, 3, 8, odd=odd)(x, y)
        for degree in range(4):
            variance = z[:, degree**2 : (degree + 1) ** 2].square().mean().item()
            parts = 2 if odd and degree > 0 else 1
            assert 0.7 * parts < variance < 1.4 * parts


def test_odd_product_contains_the_cross_product() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(2, 3)
    vectors = torch.zeros(2, 4, 1)
    vectors[0, 1:, 0], vectors[1, 1:, 0] = u, v
    layer = GauntProduct(1, 1, 1, 1, odd=True)
    even = GauntProduct(1, 1, 1, 1)
    odd_part = (layer(*vectors) - even(*vectors))[1:, 0]
    cross = torch.linalg.cross(u, v)
    ratio = odd_part / cross
    torch.testing.assert_close(ratio, ratio.mean().expand(3))
    assert ratio.mean() > 0


def test_every_weight_gets_a_gradient() -> None:
    layer = GauntProduct(2, 2, 2, 3, odd=True)
    layer(torch.randn(4, 9, 3), torch.randn(4, 9, 3)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        used = parameter.grad.abs().sum(1) > 0
        # The bracket neither sees constants nor makes them.
        expected = used.numel() - name.startswith("odd.")
        assert used.sum() == expected, name


def test_path_counts() -> None:
    assert paths_per_degree(2, 2, 2).sum() == 11
    # Degree 0 has no odd path; it counts as one so that dividing by it is safe.
    assert paths_per_degree(2, 2, 2, odd=True).tolist() == [1, 2, 2]
