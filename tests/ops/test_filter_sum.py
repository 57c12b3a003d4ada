import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from equinet.ops import filter_sum as module
from equinet.ops.filter_sum import filter_correlation, filter_sum

SOURCE, TARGET = torch.tensor([2, 0, 1, 1, 2, 0, 0]), torch.tensor([1, 0, 3, 0, 3, 3, 1])


def inputs(edges=7, points=3, degrees=2, channels=2):
    shapes = [(edges, points, degrees), (edges, degrees, channels), (3, points, channels)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def in_one_go(k, r, u):
    products = torch.bmm(k, r) * u[SOURCE]
    return u.new_zeros(4, *u.shape[1:]).index_add(0, TARGET, products)


def in_pieces(k, r, u):
    return filter_sum(k, r, u, SOURCE, TARGET, 4)


@pytest.fixture(params=[1, 20, 10**6], ids=["an edge at a time", "three edges", "all edges"])
def piece(request, monkeypatch):
    monkeypatch.setattr(module, "_PIECE_ON_CPU", request.param)


def test_sum(piece):
    k, r, u = inputs()
    torch.testing.assert_close(in_pieces(k, r, u), in_one_go(k, r, u), rtol=0, atol=1e-14)


def test_gradients_to_third_order(piece):
    k, r, u = inputs()

    def gradient(k, r, u):
        z = in_pieces(k, r, u)
        return torch.autograd.grad((z**3).sum(), [k, r, u], create_graph=True)

    assert gradcheck(in_pieces, [k, r, u], fast_mode=True)
    assert gradgradcheck(in_pieces, [k, r, u], fast_mode=True)
    assert gradgradcheck(gradient, [k, r, u], fast_mode=True)


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True), (False, False)])
def test_correlation_of_what_is_wanted(wanted):
    k, r, u = inputs()
    v = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    k, r = k if wanted[0] else None, r if wanted[1] else None
    by_r, by_k = filter_correlation(k, r, u, v, SOURCE, TARGET)
    h = u[SOURCE] * v[TARGET]
    operands = [each for each in (k, r, u, v) if each is not None]
    found, expected = [], []
    if r is not None:
        found.append(by_r)
        expected.append(h @ r.mT)
    if k is not None:
        found.append(by_k)
        expected.append(k.mT @ h)
    assert (by_r is None, by_k is None) == (r is None, k is None)
    if not found:
        return
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad(sum((each**2).sum() for each in values), operands)
        for values in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_gradient_of_one_operand_alone(index):
    operands = [each.detach() for each in inputs()]
    operands[index].requires_grad_()
    gradients = [
        torch.autograd.grad(function(*operands).square().sum(), operands[index])
        for function in (in_pieces, in_one_go)
    ]
    torch.testing.assert_close(*gradients)


def test_nothing_of_the_size_of_the_products_is_kept():
    k, r, u = inputs(points=50, channels=30)
    kept = []

    def record(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        z = in_pieces(k, r, u)
        torch.autograd.grad(z.square().sum(), [k, r, u], create_graph=True)
    assert max(kept) < len(SOURCE) * 50 * 30
