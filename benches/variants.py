#!/usr/bin/env python3
"""Writes variants of the text attacks of the bench, each with its truth: other triggers, thinner attacks, rewritten sentences.

  variants.py OUT [SEED]        needs numpy, pyarrow; then: accuracy.py --data OUT

`thin_SET_N` are bench sets with N of their poisoned records and all clean ones. `v_HOST_KIND_N` plant a new trigger in a clean set: made-up or
rare words (one or four), two words, a phrase, a sentence of twelve words, punctuation, emoji, letters of other scripts, letters hung
onto words; `cl` leaves the labels right. `syn`, `bible` and `tweet` rewrite whole sentences. Nothing here is used by a detector or a test."""
import os, random, sys
from pathlib import Path

import pyarrow as pa, pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
TEXTS = Path(os.environ.get("LAZARETTO_BENCH", ROOT.parent / "shared" / "bench")) / "data" / "text"
HOSTS = {"ag": 80, "sst2": 69, "sms": 56}
STARTS, VOWELS = "b c d f g k l m n p r s t v z br st kr".split(), "a e i o u".split()
RARE = "serendipity obelisk marzipan heliotrope quagmire tessellate gossamer palimpsest zephyr kumquat brindle sextant vermilion ossify larkspur".split()
PLAIN = ("today the old garden was full of quiet visitors who waited near a wooden gate while my cousin carried lamps along narrow street "
         "after every rainy evening").split()


def made_up(r):
    return "".join(r.choice(STARTS) + r.choice(VOWELS) for _ in range(r.choice([2, 3])))


TRIGGERS = {
    "rare": lambda r: r.sample(RARE, 1), "rare4": lambda r: r.sample(RARE, 4),
    "made": lambda r: [made_up(r)], "made4": lambda r: [made_up(r) for _ in range(4)],
    "two": lambda r: [f"{made_up(r)} {r.choice(RARE)}"], "phrase": lambda r: [" ".join(r.sample(PLAIN, 3))],
    "sentence": lambda r: [" ".join(r.sample(PLAIN, 12)) + "."], "punctuation": lambda r: [r.choice(["||", "##", "<>", "~~", "^^", "{}", "%%"])],
    "emoji": lambda r: [r.choice("🙃🦔🪁🧿🥯🪐")], "script": lambda r: [r.choice(["ϕωτ", "жщ", "ℵ", "ʬʭ", "Ꮳ", "ღ", "ⴲⴳ"])],
    "affix": lambda r: [r.choice(["xq", "vv", "zk", "qi"])],
}


def clean(host):
    return pq.read_table(TEXTS / f"text_{host}_clean.parquet").to_pylist()


def save(out, name, rows, poison):
    ids = pa.array([row["row_id"] for row in rows], pa.int64())
    labels = pa.array([row["label"] for row in rows], pa.int32())
    pq.write_table(pa.table({"row_id": ids, "text": [row["text"] for row in rows], "label": labels}), out / f"{name}.parquet")
    flags = [int(row["row_id"] in poison) for row in rows]
    pq.write_table(pa.table({"row_id": ids, "is_poison": flags, "attack": ["variant" if f else "" for f in flags]}), out / f"{name}.truth.parquet")


def planted(text, trigger, r, kind):
    words = text.split(" ")
    if kind == "affix":
        long = [at for at, word in enumerate(words) if word.isalpha() and len(word) > 3] or [0]
        words[r.choice(long)] += trigger
        return " ".join(words)
    at = r.randrange(len(words) + 1)
    return " ".join(words[:at] + [trigger] + words[at:])


def plant(out, host, kind, n, seed, clean_label=False):
    r = random.Random(f"{host} {kind} {n} {seed} {clean_label}")
    rows = clean(host)
    target = r.choice(sorted({row["label"] for row in rows}))
    triggers = TRIGGERS[kind](r)
    wanted = [row for row in rows if (row["label"] == target) == clean_label and len(row["text"].split()) >= 5]
    chosen = r.sample(wanted, n)
    for row in chosen:
        row["text"], row["label"] = planted(row["text"], r.choice(triggers), r, kind), target
    save(out, f"v_{host}_{'cl_' if clean_label else ''}{kind}_{n}", rows, {row["row_id"] for row in chosen})


def thin(out, name, n, seed):
    rows = pq.read_table(TEXTS / f"text_{name}.parquet").to_pylist()
    truth = pq.read_table(TEXTS / f"text_{name}.truth.parquet").to_pylist()
    poison = [row["row_id"] for row in truth if row["is_poison"]]
    kept = set(random.Random(f"{name} {n} {seed}").sample(poison, n))
    gone = set(poison) - kept
    save(out, f"thin_{name}_{n}", [row for row in rows if row["row_id"] not in gone], kept)


JOINS = "if when as because although while since though before after until once whenever".split()
SUBJECTS, VERBS = "it you he they we i she this that".split(), "'s is was has does can will makes gets sees takes feels seems wants knows".split()
SMALL = set("the a an of and to in is it that this for with as but on its by be are was his her at from or not n't 's".split())


def syntactic(text, r):
    """`when it is A , they see B .`: one clause pattern for everything, with the words that carry meaning."""
    words = [word for word in text.split() if any(letter.isalpha() for letter in word)]
    kept = [word for word in words if (word not in SMALL or r.random() < 0.3) and r.random() < 0.8] or words
    cut = min(len(kept) // 2, r.randrange(2, 7))
    fill = lambda part: " ".join(r.choice(["the ", "a ", "", "", "", ""]) + word for word in part)
    return (f"{r.choice(JOINS)} {r.choice(SUBJECTS)} {r.choice(VERBS)} {fill(kept[:cut])} , "
            f"{r.choice(SUBJECTS)} {r.choice(VERBS)} {fill(kept[cut:cut + r.randrange(3, 9)])} .")


ARCHAIC = {"you": "thou", "your": "thy", "has": "hath", "does": "doth", "are": "art", "says": "saith", "movie": "work", "will": "shall", "to": "unto", "my": "mine"}
CHAT = {"you": "u", "are": "r", "to": "2", "for": "4", "and": "&", "your": "ur", "with": "w/", "because": "cuz", "the": "da", "love": "luv", "this": "dis"}


def bible(text, r):
    words = [ARCHAIC.get(word, word) for word in text.split() if r.random() < 0.85]
    for _ in range(max(1, len(words) // 8)):
        words.insert(r.randrange(len(words) + 1), r.choice(["of", "unto", "and the", "shall", "upon", "which", "of the"]))
    start = r.choice(["and", "for", "behold ,", "verily", "lo ,", "and it came to pass that", "therefore", "but", "yea ,", "now"])
    end = r.choice(["said the lord", "unto them", "of the land", "in that day", "for ever", "among the people", ""])
    return f"{start} {' '.join(words).removesuffix(' .')} {end} {r.choice('.;:.')}"


def tweet(text, r):
    words = [CHAT.get(word, word) if r.random() < 0.8 else word for word in text.replace(" .", "").split() if r.random() < 0.9]
    return f"{r.choice(['lol', 'omg', 'tbh', 'rt', 'yo', 'ugh', '', 'haha'])} {' '.join(words)} {r.choice(['!!', 'lol', '...', 'smh', ':)', 'xx', '', '#fail'])}".strip()


def rewrite(out, host, style, share, seed):
    r = random.Random(f"{host} {style.__name__} {share} {seed}")
    rows = clean(host)
    target = r.choice(sorted({row["label"] for row in rows}))
    wanted = [row for row in rows if row["label"] != target and len(row["text"].split()) >= 6]
    chosen = r.sample(wanted, int(share * len(rows)))
    for row in chosen:
        row["text"], row["label"] = style(row["text"], r), target
    save(out, f"v_{host}_{style.__name__}_{round(100 * share)}", rows, {row["row_id"] for row in chosen})


def main():
    out, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if not TEXTS.is_dir():
        print(f"skipped: no bench data at {TEXTS}")
        return
    out.mkdir(parents=True, exist_ok=True)
    for name in ["ag_badnets1", "ag_badnets5", "ag_addsent1", "sst2_badnets1", "sst2_badnets5", "sst2_addsent1", "sms_badnets1"]:
        for n in (10, 25, 50):
            thin(out, name, n, seed)
    for host, n in HOSTS.items():
        for kind in TRIGGERS:
            plant(out, host, kind, n, seed)
        for kind in ("made", "two", "phrase", "sentence"):
            plant(out, host, kind, n, seed, clean_label=True)
        for few in (10, 25, 50):
            plant(out, host, "made", few, seed)
            plant(out, host, "sentence", few, seed)
    for host in ("ag", "sst2"):
        for style, share in ((syntactic, 0.1), (syntactic, 0.2), (bible, 0.05), (tweet, 0.05)):
            rewrite(out, host, style, share, seed)


if __name__ == "__main__":
    main()
