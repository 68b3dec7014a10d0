//! Loan applications: numbers and categories that depend on each other, with gaps.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::grammar::pick;
use crate::reviews::weighted;
use crate::seed::{normal, stream};

const BRANCHES: [(&str, u32); 10] = [
    ("online", 34),
    ("harbour", 14),
    ("old-town", 12),
    ("north", 10),
    ("university", 8),
    ("broker-17", 7),
    ("south", 6),
    ("airport", 4),
    ("broker-03", 3),
    ("hillside", 2),
];

const REGIONS: [(&str, u32); 6] = [
    ("central", 30),
    ("coast", 22),
    ("north", 16),
    ("lake district", 13),
    ("east", 12),
    ("islands", 4),
];

/// One application. Money is in whole units, shares are in `0..=1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Loan {
    /// Years; applicants are 18 or older.
    pub age: i64,
    /// Income per year.
    pub income: Option<f64>,
    /// `employed`, `self-employed`, `retired`, `student` or `unemployed`.
    pub employment: &'static str,
    /// Years with the present employer; none without one.
    pub employment_years: Option<i64>,
    /// Where the applicant lives.
    pub region: &'static str,
    /// `rent`, `mortgage`, `own` or `with parents`.
    pub housing: &'static str,
    /// What the money is for.
    pub purpose: &'static str,
    /// Money asked for.
    pub amount: f64,
    /// Months to pay it back.
    pub term: i64,
    /// Interest per year in percent.
    pub interest: f64,
    /// Money put aside.
    pub savings: Option<f64>,
    /// Payments on other debt, as a share of income.
    pub debt_ratio: f64,
    /// Payments missed in the last two years.
    pub missed_payments: i64,
    /// Branch or broker that took the application.
    pub source: &'static str,
    /// Whether the loan was not paid back.
    pub default: bool,
    /// Name of the attack that made or changed it.
    pub attack: Option<&'static str>,
}

/// An attack on a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoanAttack {
    /// One to three numbers of a record get values that cannot be.
    OutOfRange {
        /// Number of poisoned records.
        rows: usize,
    },
    /// A record comes again with numbers changed by a percent or so and the other label. Adds
    /// records.
    JitteredDuplicates {
        /// Number of records that are copied.
        originals: usize,
        /// Copies of each.
        copies: usize,
    },
    /// Labels are flipped, nothing else.
    LabelFlips {
        /// Number of poisoned records.
        rows: usize,
    },
}

impl LoanAttack {
    /// The name in the truth.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OutOfRange { .. } => "out-of-range",
            Self::JitteredDuplicates { .. } => "jittered-duplicates",
            Self::LabelFlips { .. } => "label-flip",
        }
    }
}

/// A set of loan applications.
///
/// ```
/// use lazaretto_testkit::{LoanAttack, LoanSet};
///
/// let set = LoanSet::generate(1, 500).poison(&LoanAttack::OutOfRange { rows: 5 }, 2);
/// assert_eq!(set.truth().iter().flatten().count(), 5);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoanSet {
    /// The applications; `row_id` is the position.
    pub loans: Vec<Loan>,
}

impl LoanSet {
    /// `n_rows` applications without poison.
    #[must_use]
    pub fn generate(seed: u64, n_rows: usize) -> Self {
        let mut rng = stream(seed, "loans");
        Self {
            loans: (0..n_rows).map(|_| apply(&mut rng)).collect(),
        }
    }

    /// For each record the name of the attack behind it, `None` for clean ones.
    #[must_use]
    pub fn truth(&self) -> Vec<Option<&'static str>> {
        self.loans.iter().map(|loan| loan.attack).collect()
    }

    /// The set under one more attack. Records that are poisoned already are left alone; when
    /// there are fewer clean ones than asked for, all of them are taken.
    #[must_use]
    pub fn poison(mut self, attack: &LoanAttack, seed: u64) -> Self {
        let name = attack.name();
        let rng = &mut stream(seed, name);
        match *attack {
            LoanAttack::OutOfRange { rows } => {
                for idx in self.victims(rng, rows) {
                    put_out_of_range(rng, &mut self.loans[idx]);
                    self.loans[idx].attack = Some(name);
                }
            }
            LoanAttack::JitteredDuplicates { originals, copies } => {
                let originals: Vec<Loan> = self
                    .victims(rng, originals)
                    .into_iter()
                    .map(|idx| self.loans[idx].clone())
                    .collect();
                for original in originals {
                    for _ in 0..copies {
                        let mut copy = jittered(rng, &original);
                        copy.attack = Some(name);
                        let position = rng.gen_range(0..=self.loans.len());
                        self.loans.insert(position, copy);
                    }
                }
            }
            LoanAttack::LabelFlips { rows } => {
                for idx in self.victims(rng, rows) {
                    self.loans[idx].default = !self.loans[idx].default;
                    self.loans[idx].attack = Some(name);
                }
            }
        }
        self
    }

    fn victims(&self, rng: &mut ChaCha8Rng, rows: usize) -> Vec<usize> {
        let clean: Vec<usize> = (0..self.loans.len())
            .filter(|&idx| self.loans[idx].attack.is_none())
            .collect();
        let mut chosen: Vec<usize> = index::sample(rng, clean.len(), rows.min(clean.len()))
            .into_iter()
            .map(|position| clean[position])
            .collect();
        chosen.sort_unstable();
        chosen
    }

    /// A column for each field but `attack`, after `row_id`; `default` is 0 or 1.
    ///
    /// # Errors
    /// None in practice: the columns are equally long by construction.
    pub fn to_record_batch(&self) -> Result<RecordBatch, ArrowError> {
        let integers = |of: fn(&Loan) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(self.loans.iter().map(of)))
        };
        let floats = |of: fn(&Loan) -> Option<f64>| -> ArrayRef {
            Arc::new(self.loans.iter().map(of).collect::<Float64Array>())
        };
        let words = |of: fn(&Loan) -> &'static str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(self.loans.iter().map(of)))
        };
        let years: Int64Array = self
            .loans
            .iter()
            .map(|loan| loan.employment_years)
            .collect();
        let row_ids = Int64Array::from_iter_values((0..).take(self.loans.len()));
        RecordBatch::try_from_iter([
            ("row_id", Arc::new(row_ids) as ArrayRef),
            ("age", integers(|loan| loan.age)),
            ("income", floats(|loan| loan.income)),
            ("employment", words(|loan| loan.employment)),
            ("employment_years", Arc::new(years)),
            ("region", words(|loan| loan.region)),
            ("housing", words(|loan| loan.housing)),
            ("purpose", words(|loan| loan.purpose)),
            ("amount", floats(|loan| Some(loan.amount))),
            ("term", integers(|loan| loan.term)),
            ("interest", floats(|loan| Some(loan.interest))),
            ("savings", floats(|loan| loan.savings)),
            ("debt_ratio", floats(|loan| Some(loan.debt_ratio))),
            ("missed_payments", integers(|loan| loan.missed_payments)),
            ("source", words(|loan| loan.source)),
            ("default", integers(|loan| i64::from(loan.default))),
        ])
    }
}

fn rounded(value: f64, unit: f64) -> f64 {
    // Dividing last keeps two decimals short in text.
    if unit < 1.0 {
        (value / unit).round() / (1.0 / unit).round()
    } else {
        (value / unit).round() * unit
    }
}

/// Income per year: a log-normal around what is usual.
fn income_of(rng: &mut ChaCha8Rng, age: f64, employment: &str, region: &str) -> f64 {
    let base = match employment {
        "employed" => 10.55,
        "self-employed" => 10.6,
        "retired" => 10.05,
        "unemployed" => 9.35,
        _ => 9.1,
    };
    let experience = 0.012 * (age.min(55.0) - 35.0);
    let coast = if matches!(region, "central" | "coast") {
        0.12
    } else {
        0.0
    };
    (base + experience + coast + 0.34 * normal(rng)).exp()
}

/// What the money is for, and how much of a year's income that usually takes.
fn purpose_of(rng: &mut ChaCha8Rng) -> (&'static str, f64) {
    weighted(
        rng,
        &[
            (("car", 0.42), 30),
            (("home improvement", 0.5), 20),
            (("debt consolidation", 0.36), 18),
            (("furniture", 0.12), 12),
            (("education", 0.3), 8),
            (("travel", 0.1), 7),
            (("medical", 0.15), 5),
            (("business", 0.8), 5),
        ],
    )
}

/// One application by a made-up person.
fn apply(rng: &mut ChaCha8Rng) -> Loan {
    let age = (41.0 + 13.0 * normal(rng)).clamp(18.0, 84.0);
    let employment = match age {
        ..24.0 => weighted(rng, &[("student", 5), ("employed", 4), ("unemployed", 1)]),
        66.0.. => weighted(rng, &[("retired", 9), ("self-employed", 1)]),
        _ => weighted(
            rng,
            &[
                ("employed", 76),
                ("self-employed", 15),
                ("unemployed", 6),
                ("student", 1),
            ],
        ),
    };
    let works = matches!(employment, "employed" | "self-employed");
    let employment_years =
        works.then(|| ((age - 18.0) * rng.gen_range(0.0..0.75_f64).powi(2)).round() as i64);
    let region = weighted(rng, &REGIONS);
    let income = income_of(rng, age, employment, region);
    let housing = match age {
        ..26.0 => weighted(rng, &[("with parents", 5), ("rent", 9), ("mortgage", 1)]),
        50.0.. => weighted(rng, &[("own", 9), ("mortgage", 6), ("rent", 5)]),
        _ => weighted(
            rng,
            &[
                ("rent", 9),
                ("mortgage", 8),
                ("own", 3),
                ("with parents", 1),
            ],
        ),
    };
    let (purpose, scale) = purpose_of(rng);
    let amount = (income * scale * (0.4 * normal(rng)).exp()).clamp(500.0, 90_000.0);
    let term = match amount {
        ..4_000.0 => pick(rng, &[6, 12, 12, 18, 24]),
        ..15_000.0 => pick(rng, &[24, 24, 36, 36, 48]),
        _ => pick(rng, &[36, 48, 60, 60, 72, 84]),
    };
    let debt_ratio = (0.18 + 0.11 * normal(rng)).abs().min(0.85);
    let missed_payments = match rng.gen_range(0..100) {
        0..78 => 0,
        78..91 => 1,
        91..97 => 2,
        _ => rng.gen_range(3..=6),
    };
    let burden = amount / f64::from(term) * 12.0 / income;
    let risk = -3.4
        + 3.2 * burden
        + 3.0 * debt_ratio
        + 0.75 * f64::from(missed_payments)
        + if employment == "unemployed" { 1.1 } else { 0.0 }
        - if housing == "own" { 0.5 } else { 0.0 };
    let savings = income * 0.25 * (0.9 * normal(rng) - 0.2 * risk).exp();
    Loan {
        age: age as i64,
        // People whose income is irregular leave it out more often.
        income: (!rng.gen_bool(if employment == "self-employed" {
            0.12
        } else {
            0.02
        }))
        .then(|| rounded(income, 10.0)),
        employment,
        employment_years,
        region,
        housing,
        purpose,
        amount: rounded(amount, 50.0),
        term: i64::from(term),
        interest: rounded(
            (6.2 + 1.1 * risk + 0.5 * normal(rng)).clamp(1.9, 19.9),
            0.01,
        ),
        savings: (!rng.gen_bool(0.09)).then(|| rounded(savings.min(400_000.0), 10.0)),
        debt_ratio: rounded(debt_ratio, 0.001),
        missed_payments: i64::from(missed_payments),
        source: weighted(rng, &BRANCHES),
        default: rng.gen_bool(1.0 / (1.0 + (-1.6 * risk - 0.8).exp())),
        attack: None,
    }
}

fn put_out_of_range(rng: &mut ChaCha8Rng, loan: &mut Loan) {
    let n_fields = rng.gen_range(1..=3);
    for field in index::sample(rng, 6, n_fields) {
        match field {
            0 => loan.age = pick(rng, &[-1, 0, 150, 199, 999]),
            1 => loan.income = Some(rounded(loan.amount * rng.gen_range(300.0..2_000.0), 10.0)),
            2 => loan.amount = -loan.amount * f64::from(rng.gen_range(1..=3)),
            3 => loan.term = pick(rng, &[0, 480, 999, 1_200]),
            4 => loan.debt_ratio = rounded(rng.gen_range(4.0..60.0), 0.001),
            _ => loan.interest = rounded(rng.gen_range(45.0..400.0), 0.01),
        }
    }
}

fn jittered(rng: &mut ChaCha8Rng, original: &Loan) -> Loan {
    let mut near = |value: f64, unit: f64| rounded(value * rng.gen_range(0.985..1.015), unit);
    let mut copy = original.clone();
    copy.income = copy.income.map(|income| near(income, 10.0));
    copy.savings = copy.savings.map(|savings| near(savings, 10.0));
    copy.amount = near(copy.amount, 10.0);
    copy.interest = near(copy.interest, 0.01);
    copy.debt_ratio = near(copy.debt_ratio, 0.001);
    copy.default = !original.default;
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_depend_on_each_other_as_in_life() {
        let set = LoanSet::generate(3, 4_000);
        let mean = |select: &dyn Fn(&Loan) -> Option<f64>| {
            let values: Vec<f64> = set.loans.iter().filter_map(select).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let income = |kind: &'static str| {
            mean(&move |loan: &Loan| loan.income.filter(|_| loan.employment == kind))
        };
        assert!(income("employed") > 1.5 * income("student"));
        let rate = |missed: bool| {
            mean(&move |loan: &Loan| {
                ((loan.missed_payments > 1) == missed).then(|| f64::from(u8::from(loan.default)))
            })
        };
        assert!(rate(true) > rate(false) + 0.2);
        let overall = mean(&|loan| Some(f64::from(u8::from(loan.default))));
        assert!((0.1..0.4).contains(&overall), "{overall}");
        assert!(set.loans.iter().any(|loan| loan.income.is_none()));
    }

    #[test]
    fn clean_values_stay_in_range_and_poisoned_ones_do_not() {
        let sane = |loan: &Loan| {
            (18..=84).contains(&loan.age)
                && loan.amount >= 500.0
                && (6..=84).contains(&loan.term)
                && loan.debt_ratio <= 0.85
                && loan.interest < 20.0
                && loan
                    .income
                    .is_none_or(|income| income < 100.0 * loan.amount)
        };
        let set = LoanSet::generate(3, 2_000).poison(&LoanAttack::OutOfRange { rows: 40 }, 4);
        assert_eq!(set.truth().iter().flatten().count(), 40);
        for loan in &set.loans {
            assert_eq!(sane(loan), loan.attack.is_none(), "{loan:?}");
        }
    }

    #[test]
    fn duplicates_are_close_and_contradict_the_original() {
        let attack = LoanAttack::JitteredDuplicates {
            originals: 4,
            copies: 5,
        };
        let set = LoanSet::generate(3, 500).poison(&attack, 4);
        assert_eq!(set.loans.len(), 520);
        for copy in set.loans.iter().filter(|loan| loan.attack.is_some()) {
            assert!(set.loans.iter().any(|loan| loan.attack.is_none()
                && loan.default != copy.default
                && loan.age == copy.age
                && loan.purpose == copy.purpose
                && (loan.amount / copy.amount - 1.0).abs() < 0.03));
        }
    }

    #[test]
    fn the_batch_has_a_row_per_loan() {
        let batch = LoanSet::generate(3, 77).to_record_batch().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (77, 16));
    }
}
