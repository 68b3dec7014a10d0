//! Named places at which a test can end the process, to see that nothing is lost there.
//!
//! Without the feature `failpoints`, which no build for use has, there is nothing behind them. With it, those
//! that the environment variable `FAILPOINTS` names as `NAME=return` abort.

/// A place of this name.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {};
}

/// A place of this name.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::pass($name)
    };
}

/// Aborts at the place `name`, if that was asked for.
#[cfg(feature = "failpoints")]
pub fn pass(name: &str) {
    let _: Option<()> = fail::eval(name, |_| std::process::abort());
}

/// Reads the environment; for the start of `main`.
#[cfg(feature = "failpoints")]
pub fn arm() {
    // Kept for as long as the process lives.
    std::mem::forget(fail::FailScenario::setup());
}
