#!/usr/bin/env python3
"""Speed, memory and accuracy beside the libraries that a user would otherwise pick, on the same machine in the same minute.

  peers.py [ROW ...] [--repeat N]     rows: ecod copod hbos pca iforest knn duplicates spectral growth auroc (default: all)

Each peer and each of our runs has a fresh process and two threads. Ours is timed in three ways:

  memory   fit, model and score over decoded batches: what `Model().fit(array)` is timed on
  file     the same, reading the Parquet file in both passes
  scan     the whole `lazaretto scan --only X`: reading, hashing every record, calibration, scores/, clean/, reports,
           reading everything back, fsync

Ratios are peer / ours, so above 1 we are faster (or smaller). On a busy machine look at the CPU seconds.

Needs numpy and pyarrow, a built `lazaretto` and `kernel-times` (cargo build --release -p lazaretto -p lazaretto-benches), and for
each row its peer: pyod, scikit-learn, faiss-cpu, rensa, datasketch, adversarial-robustness-toolbox. What is not there is skipped and said so.
The peers' scripts are read from ../shared/bench beside the checkout (or $LAZARETTO_BENCH); large inputs are made once in $BENCH_DIR
(default target/peer-bench; about 800 MB, and 4 GB for the time of `growth`)."""
import argparse, csv, json, os, subprocess, sys, tempfile, time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = Path(os.environ.get("LAZARETTO_BENCH", ROOT.parent / "shared" / "bench"))
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = Path(os.environ.get("BENCH_DIR", TARGET / "peer-bench")).resolve()
LAZARETTO, KERNEL = TARGET / "release" / "lazaretto", TARGET / "release" / "kernel-times"
THREADS = 2
NO_DETECTOR = 3


@dataclass
class Row:
    name: str
    detector: str
    data: str
    label: str | None
    # Task of time_peers.py → how many times faster than it we are to be (None: for comparison only).
    peers: dict


ROWS = [
    Row("ecod", "ecod", "tab_1m_32", None, {"ecod_1m_32": 10}),
    Row("copod", "copod", "tab_1m_32", None, {"copod_1m_32": 10}),
    Row("hbos", "hbos", "tab_1m_32", None, {"hbos_1m_32": 10}),
    Row("pca", "pca-reconstruction", "tab_1m_32", None, {"pca_1m_32": 1.5}),
    Row("iforest", "isolation-forest", "tab_1m_32", None, {"iforest_1m_32": 5}),
    Row("knn", "knn-distance", "vec_100k_64", None, {"knn10_100k_64_faiss_flat": 1, "knn10_100k_64_sklearn_brute": 10}),
    Row("duplicates", "near-duplicates", "docs_200k", None, {"minhash_200k_rensa": 1.5, "minhash_200k_datasketch": 20}),
    Row("spectral", "spectral-signature", "vec_200k_256", "label", {"spectral_200k_256_art": 10}),
]
# Every detector whose memory must not follow the number of records.
STREAMING = ["ecod", "copod", "hbos", "pca-reconstruction", "isolation-forest"]
# Peak memory that ours may have, as a share of the peer's.
MEMORY_SHARE = 0.25


@dataclass
class Measured:
    wall: float
    cpu: float
    mib: float
    auroc: float | None = None

    def __str__(self):
        auroc = "     " if self.auroc is None else f"{self.auroc:.3f}"
        return f"{self.wall:7.2f} s {self.cpu:7.2f} cpu {self.mib:6.0f} MiB  AUROC {auroc}"


class Skipped(Exception):
    """Why something was not measured."""


def best(repeat, measure):
    """The fastest of `repeat` measurements: everything else on the machine can only slow one down."""
    return min((measure() for _ in range(repeat)), key=lambda measured: measured.wall)


# --- the peers

def environment():
    return {**os.environ, "BENCH_DIR": str(WORK), "BENCH_THREADS": str(THREADS), "PYTHONDONTWRITEBYTECODE": "1"}


def make_inputs():
    script = BENCH / "peers" / "make_synth.py"
    if not script.exists():
        raise Skipped(f"no {script}")
    if not (WORK / "synth" / "vec_200k_256.truth.parquet").exists():
        print(f"making the inputs in {WORK / 'synth'}", flush=True)
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, script.name], cwd=script.parent, env=environment(), check=True)


def peer(task):
    done = subprocess.run([sys.executable, "time_peers.py", task], cwd=BENCH / "peers", env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        if task == "spectral_200k_256_art" and "No module" in reason:
            print(f"  ART: {reason}; its formula in numpy instead", flush=True)
            return numpy_spectral()
        raise Skipped(reason)
    row = next(csv.reader([done.stdout.strip().splitlines()[-1]]))
    if row[11]:
        raise Skipped(row[11])
    return Measured(float(row[3]), float(row[4]) + float(row[5]), float(row[7]), float(row[9]) if row[9] else None)


NUMPY_SPECTRAL = """
import resource, sys, time, numpy as np
folder = sys.argv[1]
vectors, labels = np.load(folder + "/vec_200k_256.npy").astype(np.float64), np.load(folder + "/vec_200k_256_y.npy")
scores, used, start = np.zeros(len(labels)), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
for label in np.unique(labels):
    rows = np.flatnonzero(labels == label)
    centred = vectors[rows] - vectors[rows].mean(axis=0)
    scores[rows] = np.abs(vectors[rows] @ np.linalg.svd(centred, full_matrices=False)[2][0])
wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
print(wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, now.ru_maxrss / 1024)
"""


def numpy_spectral():
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", NUMPY_SPECTRAL, WORK / "synth"], env={**environment(), **threads}, capture_output=True, text=True, check=True)
    return Measured(*map(float, done.stdout.split()))


# --- ours

def kernel(detector, data, label=None, in_memory=False, truth=None):
    with tempfile.TemporaryDirectory() as folder:
        scores = Path(folder) / "scores"
        command = [KERNEL, detector, data, "--threads", str(THREADS), "--scores", scores]
        command += ["--label", label] if label else []
        command += ["--memory-of-input"] if in_memory else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == NO_DETECTOR:
            raise Skipped(f"no detector `{detector}` yet")
        if done.returncode != 0:
            raise Skipped(done.stderr.strip())
        found = json.loads(done.stdout)
        quality = auroc(truth, scores) if truth else None
        return Measured(found["wall"], found["cpu"], found["peak_mib"] or 0, quality)


def auroc(truth, scores):
    import numpy as np
    import pyarrow.parquet as pq
    poison = pq.read_table(truth)["is_poison"].to_numpy(zero_copy_only=False).astype(bool)
    return rank_auroc(poison, np.fromfile(scores, dtype="<f4"))


def rank_auroc(poison, scores):
    import numpy as np
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    end = np.cumsum(count)
    ranks = ((end - count + 1 + end) / 2)[place]
    positive = int(poison.sum())
    return float((ranks[poison].sum() - positive * (positive + 1) / 2) / (positive * (len(poison) - positive)))


def scan(detector, data, label=None, keep=None):
    """A whole scan; `keep` is called with its run folder."""
    if detector not in detectors():
        raise Skipped(f"no detector `{detector}` yet")
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        out = Path(folder) / "run"
        command = [LAZARETTO, "scan", data, "--id", "row_id", "--only", detector, "--threads", str(THREADS), "--out", out, "-q"]
        command += ["--label", label] if label else []
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        status, used, peak = wait(child)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        # 1: the policy failed, as it may on data with outliers.
        if child.returncode not in (0, 1):
            raise Skipped(f"`{' '.join(map(str, command))}` ended with {child.returncode}")
        if keep:
            keep(out)
        return Measured(wall, used.ru_utime + used.ru_stime, peak)


def wait(child):
    """Exit status, CPU use and peak resident MiB of a child. `ru_maxrss` would count what this process held at the fork."""
    peak = 0.0
    while True:
        try:
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            peak = max([peak] + [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")])
        except OSError:
            pass
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            return status, used, peak
        time.sleep(0.01)


def detectors():
    listed = subprocess.run([LAZARETTO, "detectors"], capture_output=True, text=True, check=True).stdout
    return {word for line in listed.splitlines() for word in line.split()[:1]}


# --- the table

def compare(row, repeat):
    data, truth = WORK / "synth" / f"{row.data}.parquet", WORK / "synth" / f"{row.data}.truth.parquet"
    print(f"\n{row.name}: {row.detector} on {row.data}", flush=True)
    ours = {}
    ways = {
        "memory": lambda: kernel(row.detector, data, row.label, True, truth),
        "file": lambda: kernel(row.detector, data, row.label, False, truth),
        "scan": lambda: scan(row.detector, data, row.label),
    }
    for way, measure in ways.items():
        try:
            ours[way] = best(repeat, measure)
        except Skipped as reason:
            print(f"  {way}: skipped: {reason}")
    for way, measured in ours.items():
        print(f"  lazaretto, {way:24s} {measured}")
    for task, target in row.peers.items():
        try:
            measured = best(repeat, lambda: peer(task))
        except Skipped as reason:
            print(f"  {task}: skipped: {reason}")
            continue
        print(f"  {task:35s} {measured}")
        for way, mine in ours.items():
            wall, cpu, memory = (getattr(measured, what) / max(getattr(mine, what), 1e-3) for what in ("wall", "cpu", "mib"))
            met = "" if way == "scan" else f"   target {target}: {'met' if wall >= target else 'missed'}"
            if row.data.startswith("tab") and way != "memory":
                met += f"   memory {'met' if memory * MEMORY_SHARE >= 1 else 'missed'}"
            print(f"    {way:8s} wall {wall:6.2f} x   cpu {cpu:6.2f} x   memory {memory:5.2f} x{met}", flush=True)


def grow(source, target, times):
    """`times` copies of a table, each with other noise on its numbers, one row group each."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    table = pq.read_table(source)
    with pq.ParquetWriter(target, table.schema, compression="zstd") as writer:
        for copy in range(times):
            noise = np.random.RandomState(copy)
            columns = [pa.array(table["row_id"].to_numpy() + copy * table.num_rows)]
            for name in table.column_names[1:]:
                values = table[name].to_numpy()
                factor = 1 + 0.01 * noise.standard_normal(len(values)).astype(np.float32)
                columns.append(pa.array(values * factor))
            writer.write_table(pa.table(columns, schema=table.schema), row_group_size=table.num_rows)


def growth(repeat):
    print("\ngrowth: 1,000,000 -> 10,000,000 records; at most 11 x the time and 1.2 x the memory", flush=True)
    small, large = WORK / "synth" / "tab_1m_32.parquet", WORK / "synth" / "tab_10m_32.parquet"
    try:
        grow(small, large, 10)
        for detector in STREAMING:
            # Whole scans: kernel-times keeps every score in memory, which a scan does not.
            try:
                before = best(repeat, lambda: scan(detector, small))
                after = best(repeat, lambda: scan(detector, large))
            except Skipped as reason:
                print(f"  {detector}: skipped: {reason}")
                continue
            wall, cpu, memory = after.wall / before.wall, after.cpu / before.cpu, after.mib / before.mib
            met = "met" if wall <= 11 and memory <= 1.2 else "missed"
            print(f"  {detector:20s} wall {wall:5.2f} x   cpu {cpu:5.2f} x   memory {memory:5.2f} x   {met}   ({before} -> {after})", flush=True)
    finally:
        large.unlink(missing_ok=True)


PYOD_AUROC = """
import json, sys, warnings, importlib
warnings.filterwarnings("ignore")
import numpy as np, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
features = np.column_stack([np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=float) for name in table.column_names if name != "row_id"])
for module, name in (("knn", "KNN"), ("iforest", "IForest"), ("hbos", "HBOS"), ("ecod", "ECOD")):
    arguments = {"random_state": 0} if name == "IForest" else {}
    scores = getattr(importlib.import_module("pyod.models." + module), name)(**arguments).fit(features).decision_scores_
    print(json.dumps([name, [float(score) for score in scores]]))
"""


def auroc_of_sets():
    import numpy as np
    import pyarrow.parquet as pq
    print("\nauroc: mean over adbench/, default settings", flush=True)
    found = {}
    for data in sorted((BENCH / "data" / "adbench").glob("*.parquet")):
        if data.stem.endswith(".truth"):
            continue
        poison = pq.read_table(data.with_suffix(".truth.parquet"))["is_poison"].to_numpy(zero_copy_only=False).astype(bool)

        def ensemble(run):
            scores = pq.read_table(run / "scores")
            order = np.argsort(scores["record_id"].to_numpy())
            return rank_auroc(poison, scores["score"].to_numpy(zero_copy_only=False)[order])

        line = {}
        try:
            scan("tabular-ensemble", data, keep=lambda run: line.update(ensemble=ensemble(run)))
        except Skipped as reason:
            print(f"  {data.stem}: skipped: {reason}")
        done = subprocess.run([sys.executable, "-c", PYOD_AUROC, data], env=environment(), capture_output=True, text=True)
        if done.returncode != 0:
            print(f"  PyOD: skipped: {done.stderr.strip().splitlines()[-1]}")
        for printed in done.stdout.splitlines():
            name, scores = json.loads(printed)
            line[name] = rank_auroc(poison, np.asarray(scores))
        print(f"  {data.stem:24s} " + "  ".join(f"{name} {value:.3f}" for name, value in line.items()), flush=True)
        for name, value in line.items():
            found.setdefault(name, []).append(value)
    print(f"  {'mean':24s} " + "  ".join(f"{name} {np.mean(values):.3f} ({len(values)})" for name, values in found.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*")
    parser.add_argument("--repeat", type=int, default=1)
    arguments = parser.parse_args()
    known = [row.name for row in ROWS] + ["growth", "auroc"]
    chosen = arguments.rows or known
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown rows {sorted(unknown)}, known are {known}")
    for program in (LAZARETTO, KERNEL):
        if not program.exists():
            sys.exit(f"skipped: no {program} (cargo build --release -p lazaretto -p lazaretto-benches)")
    try:
        make_inputs()
    except Skipped as reason:
        sys.exit(f"skipped: {reason}")
    load = os.getloadavg()[0]
    print(f"{THREADS} threads, load {load:.1f}" + (": busy, look at the CPU seconds" if load > 1 else ""))
    for row in ROWS:
        if row.name in chosen:
            compare(row, arguments.repeat)
    if "growth" in chosen:
        growth(arguments.repeat)
    if "auroc" in chosen:
        auroc_of_sets()


if __name__ == "__main__":
    main()
