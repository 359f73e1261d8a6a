"""Scale and shift of categories: against scikit-learn, by hand, and what must not happen."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from trmml_nb.method.platt import CategoryLevels, LevelError


def passes(levels, z, y, epochs=12, batch=50):
    for epoch in range(epochs):
        for rows in torch.randperm(len(z), generator=torch.Generator().manual_seed(epoch)).split(batch):
            levels.update(z[rows], y[rows])
    return levels


@pytest.mark.parametrize('scale,shift', [(0.5, -1.0), (2.0, 3.0), (1.0, 0.0), (0.25, 2.0)])
def test_finds_what_logistic_regression_finds(scale, shift):
    rng = np.random.default_rng(3)
    z = rng.normal(-1, 3, (600, 1))
    y = (rng.random((600, 1)) < 1 / (1 + np.exp(-(scale * z + shift)))).astype(int)
    whole = LogisticRegression(C=1.0).fit(z, y[:, 0])
    found = passes(CategoryLevels(1, memory=0.995), torch.tensor(z).float(), torch.tensor(y)).levels[0]
    assert abs(found[0] - whole.coef_[0, 0]) < 0.1 * scale + 0.05 and abs(found[1] - whole.intercept_[0]) < 0.3


def test_one_step_by_hand():
    "One known present label with logit 0: p = .5, w = .25, x = (0, 1): H + 1 = ((1, 0), (0, 1.25)), slope (0, -.5)."
    levels = CategoryLevels(2)
    levels.update(torch.tensor([[0.0, 5.0]]), torch.tensor([[1, -1]]))
    assert levels.levels.tolist() == [[1, pytest.approx(0.4)], [1, 0]]
    assert levels(torch.zeros(1, 2))[0].tolist() == [pytest.approx(1 / (1 + np.exp(-0.4))), 0.5]


def test_unknown_labels_do_nothing_and_the_pull_leads_back():
    levels = CategoryLevels(1, memory=0.5)
    levels.levels[0] = torch.tensor([3.0, -2.0])
    for _ in range(60):
        levels.update(torch.randn(4, 1), torch.full((4, 1), -1))
    assert torch.allclose(levels.levels[0], torch.tensor([1.0, 0.0]), atol=1e-4)


def test_sure_and_wrong_does_not_turn_a_category_over():
    levels = CategoryLevels(1)
    for z in (8.0, 30.0, 300.0):
        levels.update(torch.tensor([[z]]), torch.tensor([[0]]))
        assert torch.isfinite(levels.levels).all() and levels.levels[0, 0] > 0


def test_order_within_a_category_stays_and_gradients_pass_but_levels_are_not_trained():
    levels = passes(
        CategoryLevels(1), torch.linspace(-3, 3, 100)[:, None], (torch.linspace(-3, 3, 100)[:, None] > 1).int()
    )
    z = torch.linspace(-5, 5, 11)[:, None].requires_grad_()
    out = levels(z)
    assert (out.diff(dim=0) > 0).all() and not list(levels.parameters())
    out.sum().backward()
    assert z.grad.abs().sum() > 0


def test_is_saved_with_a_model_and_works_under_autocast():
    levels = passes(
        CategoryLevels(3),
        torch.randn(80, 3, generator=torch.Generator().manual_seed(0)),
        torch.randint(-1, 2, (80, 3), generator=torch.Generator().manual_seed(1)),
    )
    again = CategoryLevels(3)
    again.load_state_dict(levels.state_dict())
    z = torch.randn(5, 3)
    with torch.autocast('cpu', torch.bfloat16):
        assert again(z).dtype == torch.float32 and torch.equal(again(z), levels(z))
        again.update(z, torch.ones(5, 3, dtype=torch.int))


def test_errors():
    with pytest.raises(LevelError, match='memory is 1.5'):
        CategoryLevels(2, memory=1.5)
    with pytest.raises(LevelError, match=r'\(4, 3\).*expected \[B, 2\]'):
        CategoryLevels(2).update(torch.zeros(4, 3), torch.zeros(4, 3))
