#!/usr/bin/env python3
"""Scans bench sets with default settings and compares what is held back with the truth.

  accuracy.py [--data FOLDER] [PATTERN ...]        needs numpy, pyarrow and a built `lazaretto`; patterns as in `*_clean`

The sets are read from ../shared/bench beside the checkout (or $LAZARETTO_BENCH); without it nothing is done. `--data` takes other
sets, such as those of variants.py."""
import fnmatch, json, os, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = Path(os.environ.get("LAZARETTO_BENCH", ROOT.parent / "shared" / "bench"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = TARGET / "release" / "lazaretto"


def scan(data, out):
    command = [BINARY, "scan", data, "--id", "row_id", "--out", out, "-q"]
    if "adult" in data.name:
        command += ["--label", "income"]
    started = time.perf_counter()
    subprocess.run(command, check=False)
    return time.perf_counter() - started


def evaluate(data, out):
    truth = data.with_suffix(".truth.parquet")
    command = [sys.executable, BENCH / "score_eval.py", "--truth", truth, "--scores", out / "scores", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["all"]


def main():
    arguments, folder = sys.argv[1:], BENCH / "data"
    if arguments[:1] == ["--data"]:
        folder, arguments = Path(arguments[1]), arguments[2:]
    patterns = arguments or ["*"]
    if not BENCH.is_dir():
        print(f"skipped: no bench data at {BENCH}")
        return
    print(f"{'set':30s} {'seconds':>8s} {'records':>8s} {'poison':>7s} {'held':>6s} {'held %':>7s} {'precision':>9s} {'recall':>7s} {'AUROC':>6s} {'AP':>6s}")
    for data in sorted(folder.glob("**/*.parquet")):
        name = data.stem
        if name.endswith(".truth") or not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            seconds = scan(data, out)
            if not (out / "manifest.json").exists():
                print(f"{name:30s} failed")
                continue
            m = evaluate(data, out)
        show = lambda key: "-" if m.get(key) is None else f"{m[key]:.3f}"
        held = 100 * m["flagged"] / m["rows"]
        print(f"{name:30s} {seconds:8.1f} {m['rows']:8d} {m['poison']:7d} {m['flagged']:6d} {held:7.2f} {show('precision'):>9s} {show('recall'):>7s} {show('auroc'):>6s} {show('ap'):>6s}", flush=True)


if __name__ == "__main__":
    main()
