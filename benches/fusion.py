#!/usr/bin/env python3
"""Compares the fused score with each single detector's, set by set: is the whole at least as good as its best part?

  fusion.py [--keep FOLDER] [PATTERN ...]        needs numpy, pyarrow and a built `lazaretto`; patterns as in `*_mixed`

For each set: average precision of the fused score and of the best single detector; recall of what is held back and of the best single
detector at the same rate of false positives, and of the fused score at 1 %. `--keep` leaves the run folders there and takes those that
are there already. The sets are those of accuracy.py."""
import fnmatch, sys, tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from accuracy import BENCH, scan

FIXED = {"record_id", "row_hash", "file", "row_group", "row", "score", "p_value", "q_value", "verdict"}


def ranked(score, poison):
    """Cumulative true and false positives by falling score, one entry per distinct score."""
    score = np.where(np.isnan(score), -np.inf, score)
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.diff(score[order]) != 0, True]
    return np.cumsum(poison[order])[last], np.cumsum(~poison[order])[last]


def average_precision(score, poison):
    true, false = ranked(score, poison)
    return float(np.sum(np.diff(np.r_[0, true]) / poison.sum() * true / (true + false)))


def recall_at(score, poison, false_positives):
    """Recall where at most this share of the clean records is taken; between thresholds, records of one score are taken by lot."""
    true, false = ranked(score, poison)
    wanted = false_positives * (~poison).sum()
    return float(np.interp(wanted, np.r_[0, false], np.r_[0, true]) / poison.sum()) if wanted >= false[0] else float(
        true[0] * (wanted / false[0] if false[0] else 1) / poison.sum())


def compare(data, out):
    truth = pq.read_table(data.with_suffix(".truth.parquet"), columns=["row_id", "is_poison"]).to_pydict()
    poison_of = dict(zip(map(str, truth["row_id"]), truth["is_poison"]))
    table = pq.read_table(out / "scores")
    poison = np.array([bool(poison_of[str(name)]) for name in table["record_id"].to_pylist()])
    number = lambda name: table[name].to_numpy(zero_copy_only=False).astype(float)
    held = np.array(table["verdict"].to_pylist()) == "quarantine"
    names = [name for name in table.column_names if name not in FIXED]
    scores = {name: number(name) for name in names}
    ap = {name: average_precision(score, poison) for name, score in scores.items()}
    fused = number("score")
    false_positives = (held & ~poison).sum() / (~poison).sum()
    best = max(ap, key=ap.get)
    at = {name: recall_at(score, poison, false_positives) for name, score in scores.items()}
    at_1 = {name: recall_at(score, poison, 0.01) for name, score in scores.items()}
    best_at, best_at_1 = max(at, key=at.get), max(at_1, key=at_1.get)
    return {
        "AP": average_precision(fused, poison), "best AP": ap[best], "by": best,
        "held": (held & poison).sum() / poison.sum(), "FPR": false_positives, "best at FPR": at[best_at], "by ": best_at,
        "at 1 %": recall_at(fused, poison, 0.01), "best at 1 %": at_1[best_at_1], "by  ": best_at_1,
    }


def main():
    arguments, keep = sys.argv[1:], None
    if arguments[:1] == ["--keep"]:
        keep, arguments = Path(arguments[1]), arguments[2:]
    if not BENCH.is_dir():
        print(f"skipped: no bench data at {BENCH}")
        return
    print(f"{'set':30s} {'AP':>6s} {'best':>6s} {'ratio':>6s} {'by':24s} {'held':>6s} {'FPR':>7s} {'best':>6s} {'by':24s} {'at 1 %':>6s} {'best':>6s} by")
    with tempfile.TemporaryDirectory() as temporary:
        for data in sorted((BENCH / "data").glob("**/*.parquet")):
            name = data.stem
            if name.endswith(("truth", "_clean")) or not any(fnmatch.fnmatch(name, pattern) for pattern in arguments or ["*"]):
                continue
            if not data.with_suffix(".truth.parquet").exists():
                continue
            out = (keep or Path(temporary)) / name
            if not (out / "manifest.json").exists():
                scan(data, out)
            m = compare(data, out)
            print(f"{name:30s} {m['AP']:6.3f} {m['best AP']:6.3f} {m['AP'] / m['best AP']:6.2f} {m['by']:24s} {m['held']:6.3f} {m['FPR']:7.4f} {m['best at FPR']:6.3f} {m['by ']:24s} {m['at 1 %']:6.3f} {m['best at 1 %']:6.3f} {m['by  ']}", flush=True)


if __name__ == "__main__":
    main()
