#!/usr/bin/env python3
"""Writes the reference values that `tests/reference.rs` compares Lazaretto's detectors with.

    python3 generate.py            all peers
    python3 generate.py ecod lof   only these

`data/NAME.csv` holds the data sets (public, carried by scikit-learn), `scores/ID.json` what a peer
says about them: scores per record for a deterministic peer, AUROC per seed for one with chance.
To add a peer: a function below, and a line in `CASES` of `tests/reference.rs`.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import pyod
import sklearn
from sklearn import datasets
from sklearn.metrics import roc_auc_score

HERE = pathlib.Path(__file__).parent
SEEDS = range(5)
PEERS = {}


def peer(id, scaling="none", random=False):
    """Registers `function(values, seed) -> scores` as the reference of `id`."""

    def register(function):
        PEERS[id] = (function, scaling, random)
        return function

    return register


@peer("ecod")
def ecod(values, _seed):
    """pyod ECOD()"""
    from pyod.models.ecod import ECOD

    return ECOD().fit(values).decision_scores_


@peer("copod")
def copod(values, _seed):
    """pyod COPOD()"""
    from pyod.models.copod import COPOD

    return COPOD().fit(values).decision_scores_


@peer("hbos", scaling="range")
def hbos(values, _seed):
    """pyod HBOS()"""
    from pyod.models.hbos import HBOS

    return HBOS().fit(values).decision_scores_


@peer("hbos-units")
def hbos_units(values, seed):
    """pyod HBOS()"""
    return hbos(values, seed)


@peer("pca-reconstruction")
def pca_reconstruction(values, _seed):
    """pyod PCA()"""
    from pyod.models.pca import PCA

    return PCA().fit(values).decision_scores_


@peer("pca-reconstruction-default", scaling="standard")
def pca_reconstruction_default(values, _seed):
    """sklearn PCA(whiten=True): the squares of a record's whitened components, added up"""
    from sklearn.decomposition import PCA

    return (PCA(whiten=True).fit_transform(values) ** 2).sum(axis=1)


@peer("robust-mahalanobis", scaling="standard", random=True)
def robust_mahalanobis(values, seed):
    """sklearn MinCovDet(), which is what pyod MCD() calls"""
    from sklearn.covariance import MinCovDet

    return MinCovDet(random_state=seed).fit(values).dist_


@peer("gmm-density-one", scaling="standard")
def gmm_density_one(values, seed):
    """sklearn GaussianMixture(1) without the 5 % farthest, on average, from their 20 nearest neighbours"""
    return trimmed_mixture(values, 1, seed)


@peer("gmm-density-two", scaling="standard", random=True)
def gmm_density_two(values, seed):
    """sklearn GaussianMixture(1 or 2) by BIC, trimmed as above; 2 where there are 5 rows per column of each"""
    return trimmed_mixture(values, 2, seed)


@peer("isolation-forest", random=True)
def isolation_forest(values, seed):
    """sklearn IsolationForest(n_estimators=1000), which is what pyod IForest() calls"""
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=1000, random_state=seed).fit(values).score_samples(values)


@peer("loda", scaling="standard", random=True)
def loda(values, seed):
    """pyod LODA(n_random_cuts=1000): its projections and histograms, but each value looked up in its own bin"""
    from pyod.models.loda import LODA

    # decision_scores_ searches limits_[:n_bins - 1] and so takes the bin after the value's own.
    model = LODA(n_random_cuts=1000, random_state=seed).fit(values)
    scores = np.zeros(len(values))
    for projection, histogram, limits in zip(model.projections_, model.histograms_, model.limits_):
        bins = np.searchsorted(limits[1:-1], values @ projection, side="right")
        scores -= np.log(histogram[bins])
    return scores


def trimmed_mixture(values, max_components, seed):
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import NearestNeighbors

    distances = NearestNeighbors(n_neighbors=20).fit(values).kneighbors()[0].mean(axis=1)
    bulk = values[np.argsort(distances)[: len(values) - int(0.05 * len(values))]]
    most = max(1, min(max_components, len(bulk) // (5 * values.shape[1])))
    models = [
        GaussianMixture(n_components, reg_covar=1e-2, random_state=seed).fit(bulk)
        for n_components in range(1, most + 1)
    ]
    return -min(models, key=lambda model: model.bic(bulk)).score_samples(values)


def without_constants(values):
    return values[:, values.max(axis=0) > values.min(axis=0)]


SCALINGS = {
    "none": without_constants,
    "range": lambda values: (lambda v: (v - v.min(0)) / (v.max(0) - v.min(0)))(without_constants(values)),
    "standard": lambda values: (lambda v: (v - v.mean(0)) / v.std(0))(without_constants(values)),
}


def rare_class(load, rare, n_rare, n_rows=None):
    """A classification set in which class `rare` is thinned out to `n_rare` records."""
    values, target = load(return_X_y=True)
    rng = np.random.default_rng(7)
    outliers = rng.choice(np.flatnonzero(target == rare), n_rare, replace=False)
    inliers = np.flatnonzero(target != rare)
    if n_rows:
        inliers = rng.choice(inliers, n_rows - n_rare, replace=False)
    rows = np.sort(np.concatenate([inliers, outliers]))
    return values[rows], np.isin(rows, outliers)


def diabetes():
    """The tenth of the patients with the worst progression are the outliers."""
    values, target = datasets.load_diabetes(return_X_y=True, scaled=False)
    return values, target >= np.quantile(target, 0.9)


DATASETS = {
    "breast_cancer": lambda: rare_class(datasets.load_breast_cancer, rare=0, n_rare=40),
    "diabetes": diabetes,
    "digits": lambda: rare_class(datasets.load_digits, rare=4, n_rare=50, n_rows=600),
    "wine": lambda: rare_class(datasets.load_wine, rare=1, n_rare=20),
}


def main():
    warnings.filterwarnings("ignore")
    loaded = {name: load() for name, load in DATASETS.items()}
    for name, (values, is_outlier) in loaded.items():
        header = ",".join([f"f{column}" for column in range(values.shape[1])] + ["is_outlier"])
        table = np.column_stack([values, is_outlier])
        np.savetxt(HERE / f"data/{name}.csv", table, "%.9g", ",", header=header, comments="")
    for id in sys.argv[1:] or PEERS:
        function, scaling, random = PEERS[id]
        results = {}
        for name in DATASETS:
            # What the tests read: the numbers as they were rounded in the file.
            table = np.loadtxt(HERE / f"data/{name}.csv", delimiter=",", skiprows=1)
            values, is_outlier = SCALINGS[scaling](table[:, :-1]), table[:, -1]
            runs = [function(values, seed) for seed in (SEEDS if random else [0])]
            if random:
                results[name] = {"auroc": [round(roc_auc_score(is_outlier, run), 6) for run in runs]}
            else:
                results[name] = {"scores": [float(f"{score:.7g}") for score in runs[0]]}
        reference = {
            "peer": function.__doc__,
            "versions": {"pyod": pyod.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__},
            "columns": {"none": "as they are", "range": "scaled to 0..1", "standard": "standardised"}[scaling]
            + ", constant ones left out",
            "datasets": results,
        }
        text = json.dumps(reference).replace('"datasets": {', '"datasets": {\n').replace("}, ", "},\n")
        (HERE / f"scores/{id}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
