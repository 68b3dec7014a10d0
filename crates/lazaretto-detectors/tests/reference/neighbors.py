"""Scores of scikit-learn's LOF and PyOD's KNN: writes neighbors.csv beside this file.

A line is: set, LOF (20 neighbours), KNN mean and largest (10 neighbours), and the values of the
record (standardised, four decimals; none for digits, which the testkit has: pixels / 16).
"""

from pathlib import Path

import numpy
import pyod
import sklearn
from pyod.models.knn import KNN
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler


def lines(name, values, keep):
    lof = LocalOutlierFactor(n_neighbors=20).fit(values)
    scores = [-lof.negative_outlier_factor_]
    for method in ("mean", "largest"):
        scores.append(KNN(n_neighbors=10, method=method).fit(values).decision_scores_)
    for row, numbers in enumerate(zip(*scores)):
        parts = [name] + [f"{number:.7g}" for number in numbers]
        parts += [f"{value:.4f}" for value in values[row]] if keep else []
        yield ",".join(parts)


def main():
    out = [f"# scikit-learn {sklearn.__version__}, PyOD {pyod.__version__}, numpy {numpy.__version__}"]
    for name, load in (("wine", load_wine), ("breast_cancer", load_breast_cancer)):
        values = StandardScaler().fit_transform(load().data).round(4)
        out += lines(name, values, True)
    out += lines("digits", load_digits().data / 16, False)
    Path(__file__).with_suffix(".csv").write_text("\n".join(out) + "\n")


main()
