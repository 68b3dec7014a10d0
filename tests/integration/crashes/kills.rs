//! SIGKILL at random moments.

use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{EXIT, Reviews, assert_nothing_half_done, drawn, folder, in_parallel, reviews};

/// Kills, at least.
const KILLS: usize = 200;
/// Runs of a round, most of which are killed more than once. How long a run takes depends on what else the machine does, so
/// rounds go on until there are enough kills.
const RUNS: u64 = 40;
/// Rounds at most.
const ROUNDS: u64 = 20;
/// Times that a run is killed again after it was resumed, at most.
const AGAIN: u64 = 3;

/// Starts `command` and kills it after a seeded part of `usual`; whether it was still running.
fn killed(mut command: Command, usual: Duration, seed: u64) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let share = drawn("moment", seed, 1_000) as u32;
    std::thread::sleep(usual * share / 1_000);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_gone_on_with() {
    let reviews = reviews();
    let (kills, resumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enough =
        || kills.load(Ordering::Relaxed) >= KILLS && resumed.load(Ordering::Relaxed) >= KILLS / 10;
    let rounds = (0..ROUNDS).take_while(|_| !enough());
    for round in rounds {
        kill_runs(reviews, round * RUNS..(round + 1) * RUNS, &kills, &resumed);
    }
    let (kills, resumed) = (kills.into_inner(), resumed.into_inner());
    println!("{kills} kills, {resumed} runs were gone on with");
    assert!(kills >= KILLS, "{kills} kills");
    assert!(resumed >= KILLS / 10, "{resumed} runs were gone on with");
}

fn kill_runs(reviews: &Reviews, cases: Range<u64>, kills: &AtomicUsize, resumed: &AtomicUsize) {
    let usual = usual(reviews);
    let cases: Vec<u64> = cases.collect();
    in_parallel(&cases, |&case| {
        let folder = folder();
        let out = folder.path().join("run");
        let mut first = reviews.scan(&out);
        first.arg("--quiet");
        let mut done = !killed(first, usual, 10 * case);
        let mut times = 1;
        while !done && times <= drawn("again", case, AGAIN + 1) {
            assert_nothing_half_done(&out);
            let mut again = reviews.scan(&out);
            again.args(["--quiet", "--resume"]);
            done = !killed(again, usual, 10 * case + times);
            times += 1;
        }
        kills.fetch_add(times as usize - usize::from(done), Ordering::Relaxed);
        let said = reviews.resumed(&out, &format!("case {case}")).stderr;
        resumed.fetch_add(usize::from(said.contains("resuming: ")), Ordering::Relaxed);
    });
}

/// How long a run takes here, three at a time.
fn usual(reviews: &Reviews) -> Duration {
    let longest = std::sync::Mutex::new(Duration::ZERO);
    in_parallel(&[0, 1, 2, 3, 4, 5], |_| {
        let folder = folder();
        let started = Instant::now();
        let output = reviews.scan(&folder.path().join("run")).output().unwrap();
        assert_eq!(output.status.code(), Some(EXIT));
        let mut longest = longest.lock().unwrap();
        *longest = started.elapsed().max(*longest);
    });
    longest.into_inner().unwrap()
}
