"The estimator keeps scikit-learn's promises, takes NaN for unknown, and works on features, positions and pictures."

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils.estimator_checks import estimator_checks_generator

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.yours.estimator import ArrayStore, EstimatorError, TRMMLClassifier, directions, homogeneous, read_y
from trmml_nb.training.metrics import mean_average_precision

CHECKS = [(e, c) for e, c in estimator_checks_generator(TRMMLClassifier(epochs=10), legacy=True)]


@pytest.mark.parametrize('estimator, check', CHECKS, ids=lambda x: getattr(getattr(x, 'func', x), '__name__', 'e')[:60])
@pytest.mark.filterwarnings('ignore')
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_unknown_labels_take_no_part():
    "Values under NaN cannot matter; a row without any label neither."
    X, truth = make_multilabel_classification(120, 6, n_classes=3, random_state=0)
    y = np.where(np.random.default_rng(0).random(truth.shape) < 0.5, truth, np.nan)
    p = TRMMLClassifier(epochs=5).fit(X, y).predict_proba(X)
    assert p.shape == (120, 3) and ((p > 0) & (p < 1)).all()
    assert mean_average_precision(p, truth)[0] > 60
    again = TRMMLClassifier(epochs=5).fit(X, y.tolist())
    assert np.array_equal(again.predict_proba(X), p) and np.array_equal(again.predict(X), p >= 0.5)
    known = ~np.isnan(y)
    assert again.score(X, y) == pytest.approx((again.predict(X)[known] == y[known]).mean())


def test_positions_matter():
    "An object at one of four positions: its mean is drowned, its position is not."
    rng = np.random.default_rng(0)
    X, y = rng.normal(0, 1, (160, 4, 8)), rng.integers(0, 2, (160, 2))
    for c in (0, 1):
        rows = np.flatnonzero(y[:, c])
        X[rows, rng.integers(0, 4, len(rows)), c] += 5
    train, test = slice(120), slice(120, None)
    p = TRMMLClassifier(epochs=15).fit(X[train], y[train]).predict_proba(X[test])
    assert mean_average_precision(p, y[test])[0] > 85


def test_pictures(tmp_path):
    scenes, names = scenes_dataset('train', 24), ['dog', 'tree']
    y = scenes.truth[:, [scenes.class_names.index(n) for n in names]].astype(float)
    y[::3, 0] = np.nan
    pictures = [scenes.image(i) for i in range(24)]
    pictures[0].save(tmp_path / 'a.png')
    model = TRMMLClassifier(clip='tiny', class_names=names, epochs=2, lr=3e-4).fit(pictures, y)
    p = model.predict_proba([tmp_path / 'a.png', *pictures[1:3]])
    assert np.allclose(p, model.predict_proba(pictures[:3]), atol=1e-6)
    data = pickle.dumps(model)
    assert (
        np.allclose(pickle.loads(data).predict_proba(pictures[1:3]), p[1:], atol=1e-6)
        and 'tower_' not in model.__getstate__()
    )
    for wrong, said in ((np.zeros((2, 3)), 'X is a list of pictures'), ([], 'not empty')):
        with pytest.raises(EstimatorError, match=said):
            model.predict(wrong)
    with pytest.raises(EstimatorError, match='expected 2 names'):
        clone(model).set_params(class_names=None).fit(pictures, y)


def test_unknown_as_minus_one_goes_through_cross_validation():
    "scikit-learn looks at y itself to choose folds, and refuses NaN there."
    X, truth = make_multilabel_classification(60, 6, n_classes=3, random_state=0)
    known = np.random.default_rng(0).random(truth.shape) < 0.5
    codes = np.where(known, truth, -1), np.where(known, truth, np.nan), np.where(known, truth.astype(object), None)
    model = TRMMLClassifier(epochs=2)
    found = [cross_val_score(model, X, y, cv=cv) for y, cv in zip(codes, (3, KFold(3), KFold(3)))]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2]) and found[0].min() > 0.3
    search = GridSearchCV(model, dict(lr=[3e-3, 1e-3]), cv=3).fit(X, codes[0])
    assert search.best_estimator_.predict(X).shape == truth.shape
    with pytest.raises(ValueError, match='NaN'):
        cross_val_score(model, X, codes[1], cv=3)


@pytest.mark.parametrize(
    'y, said',
    [
        ([['dog', 'cat'], ['dog']], 'MultiLabelBinarizer'),
        ([['dog', 'cat'], ['dog', 'car']], 'MultiLabelBinarizer'),
        ([[2.0, 0], [1, 0]], 'y holds 2'),
        (['a', 'b', 'c'], 'Only binary classification is supported'),
        ([1, 1], 'one class only'),
        (None, 'target y is None'),
        ([[np.nan, np.nan]] * 2, 'no known label'),
    ],
)
def test_wrong_y(y, said):
    with pytest.raises(ValueError, match=said):
        TRMMLClassifier(epochs=1).fit(np.eye(3)[: len(y or [1])], y)


def test_by_hand():
    z = homogeneous(np.array([[[1.0, 0.0]], [[3.0, 0.0]]]), np.zeros(2), np.ones(2))
    assert torch.allclose(z[:, 0], torch.tensor([[1, 0, 2**0.5, 0], [3, 0, 2**0.5, 0]]))
    store = ArrayStore(z)
    assert torch.allclose(store.batch([1, 0]).dense.norm(dim=-1), torch.ones(2, 1)) and store.batch([
        1
    ]).norms.tolist() == [[1.0]]
    assert torch.allclose(directions(z[:, 0], np.array([[1], [0]])), torch.tensor([[-1.0, 0, 0, 0]]))
    assert read_y([3, 5, 3])[0].ravel().tolist() == [0, 1, 0] and read_y([[1.0], [np.nan]])[1] is None
