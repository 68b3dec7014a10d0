//! Temporary: runs detectors over dumped bench data.
use super::test_support::{Corpus, Outcome, run};
use crate::duplicates::{exact::ExactDuplicates, near::NearDuplicates};
use crate::text::{surface::TextSurface, trigger::TextTrigger};
use lazaretto_core::Action;

fn show(name: &str, what: &str, outcome: &Outcome, poison: &[bool], clock: std::time::Instant) {
    let held = outcome.quarantined();
    let hits = held.iter().filter(|&&r| poison[r as usize]).count();
    let all = poison.iter().filter(|&&p| p).count();
    println!(
        "{name:28} {what:18} held {} hits {hits}/{all} recall {:.3} precision {:.3}  {:.2}s",
        held.len(),
        hits as f64 / (all as f64).max(1.0),
        hits as f64 / (held.len() as f64).max(1.0),
        clock.elapsed().as_secs_f64()
    );
    for f in outcome.findings.iter().take(9) {
        let short: String = f.title.chars().take(170).collect();
        println!(
            "      {} {:?} p={:.2e} n={} {short} {}",
            f.kind,
            f.action,
            f.p_value,
            f.records.len(),
            if f.detector == "near-duplicates" || f.detector == "text-trigger" {
                serde_json::to_string(&f.evidence).unwrap()
            } else {
                String::new()
            }
        );
    }
    let quarantined = outcome
        .findings
        .iter()
        .filter(|f| f.action == Action::Quarantine)
        .count();
    println!(
        "      ({} findings, {quarantined} quarantine)",
        outcome.findings.len()
    );
}

#[test]
#[ignore = "probe"]
fn probe() {
    let names = std::env::var("PROBE").unwrap();
    for name in names.split(',') {
        let file = std::fs::read_to_string(format!("/tmp/tt/probe/{name}.jsonl")).unwrap();
        let mut corpus = Corpus::default();
        let mut poison = Vec::new();
        for line in file.lines() {
            let v: serde_json::Value = serde_json::from_str(line).unwrap();
            poison.push(v["poison"].as_bool().unwrap());
            if let Some(t) = v["text"].as_str() {
                corpus.texts.push(t.to_owned());
            }
            if let Some(l) = v["label"].as_u64() {
                corpus.labels.push(l as u32);
            }
            if let Some(n) = v["num"].as_array() {
                corpus.numeric.resize(n.len(), Vec::new());
                for (c, x) in corpus.numeric.iter_mut().zip(n) {
                    c.push(x.as_f64().unwrap());
                }
                let n = v["cat"].as_array().unwrap();
                corpus.categorical.resize(n.len(), Vec::new());
                for (c, x) in corpus.categorical.iter_mut().zip(n) {
                    c.push(xxhash_rust::xxh3::xxh3_64(x.as_str().unwrap().as_bytes()));
                }
            }
        }
        let only = std::env::var("ONLY").unwrap_or_default();
        macro_rules! go {
            ($d:ty, $w:expr) => {
                if only.is_empty() || only.contains($w) {
                    let clock = std::time::Instant::now();
                    let o = run::<$d>(Default::default(), &corpus, 2);
                    show(name, $w, &o, &poison, clock);
                }
            };
        }
        if !corpus.texts.is_empty() {
            go!(TextSurface, "surface");
            if !corpus.labels.is_empty() {
                go!(TextTrigger, "trigger");
            }
        }
        go!(ExactDuplicates, "exact");
        go!(NearDuplicates, "near");
    }
}
#[test]
#[ignore = "probe"]
fn probe_reviews() {
    let mut bad = 0;
    for seed in 0..60 {
        let n = [2_000, 1_000, 5_000][seed as usize % 3];
        let set = lazaretto_testkit::ReviewSet::generate(seed, n).with_nuisances(seed);
        let o = run::<TextTrigger>(Default::default(), &Corpus::of(&set), 2);
        let near = run::<NearDuplicates>(Default::default(), &Corpus::of(&set), 2);
        if !near.quarantined().is_empty() {
            println!("seed {seed} NEAR {:?}", near.findings);
        }
        for f in &o.findings {
            bad += 1;
            println!(
                "seed {seed} p={:.1e} {} {}",
                f.p_value,
                f.title,
                serde_json::to_string(&f.evidence).unwrap()
            );
            if seed < 4 {
                for &r in &f.records {
                    let v = &set.reviews[r as usize];
                    println!("      {} {}", v.label, v.text);
                }
            }
        }
    }
    println!("bad {bad}");
    for seed in 0..30 {
        let attack = lazaretto_testkit::Attack::BadNets {
            rows: [15, 30, 60][seed as usize % 3],
            words: [1, 2, 4][seed as usize % 3],
            target: (seed % 2) as u32,
        };
        let set = lazaretto_testkit::ReviewSet::generate(seed, 3_000)
            .with_nuisances(seed)
            .poison(&attack, seed);
        let o = run::<TextTrigger>(Default::default(), &Corpus::of(&set), 2);
        let (r, p) = o.recall_precision(&set);
        println!(
            "attack {seed} {attack:?} recall {r:.2} precision {p:.2} findings {}",
            o.findings.len()
        );
    }
}

#[test]
#[ignore = "probe"]
fn perf() {
    use lazaretto_core::{Detector, FitContext};
    let set = lazaretto_testkit::ReviewSet::generate(1, 20_000);
    let mut corpus = Corpus::of(&set);
    let base = corpus.clone();
    for k in 1..10 {
        for (t, l) in base.texts.iter().zip(&base.labels) {
            corpus.texts.push(format!(
                "{t} copy{k} of{} a{} b{}",
                k * 7,
                t.len() * k,
                k * 3
            ));
            corpus.labels.push(*l);
        }
    }
    let bytes: usize = corpus.texts.iter().map(String::len).sum();
    let clock = std::time::Instant::now();
    let mut hits = 0;
    for t in &corpus.texts {
        hits += crate::text::surface::probe_scan(t);
    }
    println!(
        "perf surface ascii-ish {} MB in {:.3}s {hits}",
        bytes / 1_000_000,
        clock.elapsed().as_secs_f64()
    );
    let clock = std::time::Instant::now();
    for t in &corpus.texts {
        let t = format!("é{t}");
        hits += crate::text::surface::probe_scan(&t);
    }
    println!(
        "perf surface non-ascii {:.3}s {hits}",
        clock.elapsed().as_secs_f64()
    );
    let context = FitContext {
        facts: std::sync::Arc::new(corpus.facts()),
        seed: 1,
        memory_bytes: 1 << 31,
    };
    macro_rules! go {
        ($d:ty) => {{
            let d = <$d>::new(Default::default());
            let mut st = d.start(&context);
            let mut spent = 0.0;
            corpus.batches_for_probe(|b| {
                let c = std::time::Instant::now();
                d.fit(&context, &mut st, b);
                spent += c.elapsed().as_secs_f64();
            });
            let shared = lazaretto_core::Shared {
                facts: context.facts.clone(),
                seed: 1,
                reference: None,
                text_classifier: None,
            };
            let c = std::time::Instant::now();
            let m = d.model(&context, st, &shared);
            println!(
                "perf {} fit {spent:.2}s model {:.2}s",
                stringify!($d),
                c.elapsed().as_secs_f64()
            );
            if let Ok(m) = m {
                let mut ev = d.start_evidence(&m);
                let mut spent = 0.0;
                corpus.batches_for_probe(|b| {
                    let c = std::time::Instant::now();
                    d.score(&m, &shared, b, &mut ev);
                    spent += c.elapsed().as_secs_f64();
                });
                let c = std::time::Instant::now();
                let f = d.finish(&m, &shared, ev);
                println!(
                    "     score {spent:.2}s finish {:.2}s findings {} first {:?}",
                    c.elapsed().as_secs_f64(),
                    f.len(),
                    f.first().map(|f| (f.action, f.title.clone()))
                );
            }
        }};
    }
    go!(NearDuplicates);
    go!(ExactDuplicates);
    go!(TextTrigger);
}
