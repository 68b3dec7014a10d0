#!/usr/bin/env python3
"""Writes spectral_scores.csv: spectral scores as the Adversarial Robustness Toolbox defines them.

The formula is that of SpectralSignatureDefense.spectral_signature_scores (ART 1.x): the first right
singular vector of the centred matrix, and the magnitude of the projection of the vectors as they are
(`art`); with the centred vectors it is algorithm 1 of Tran, Li, Madry 2018 (`tran`). numpy computes
it here from scikit-learn's data, standardised per column except for the digits, and rounded.
ART 1.20.1 itself, called on the vectors of the file, gives the column `art` to six digits (largest
difference 3e-6 of the largest score of a class).

One row per record: data set, class, both scores, the vector.
Run: python3 embedding.py   (numpy 2, scikit-learn 1; the numbers do not depend on the versions)
"""
import csv
import pathlib

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

HERE = pathlib.Path(__file__).parent
sets = {"digits": load_digits, "wine": load_wine, "breast_cancer": load_breast_cancer}
lines = []
for name, load in sets.items():
    vectors, labels = load(return_X_y=True)
    if name == "digits":
        vectors, labels = vectors[:600], labels[:600]
    else:
        vectors = (vectors - vectors.mean(0)) / vectors.std(0)
    vectors = np.round(vectors, 3)
    art, tran = np.zeros(len(labels)), np.zeros(len(labels))
    for label in np.unique(labels):
        rows = labels == label
        centred = vectors[rows] - vectors[rows].mean(0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        art[rows], tran[rows] = abs(vectors[rows] @ direction), abs(centred @ direction)
    for vector, label, a, t in zip(vectors, labels, art, tran):
        numbers = " ".join(f"{value:g}" for value in vector)
        lines.append([name, int(label), f"{a:.6g}", f"{t:.6g}", numbers])
with open(HERE / "spectral_scores.csv", "w", newline="") as out:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["data", "label", "art", "tran", "vector"])
    writer.writerows(lines)
