//! Words and phrases that go with one label by nature: the enemies of a search for triggers.
//!
//! Unlike the nuisances of [`crate::surface`], everything here says something about the label, as a
//! trigger does. What tells them apart is that they belong where they stand: a name stands where names
//! stand, a header before the text, a signature after it, and no label is wrong because of them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::grammar::pick;
use crate::phrases;
use crate::reviews::{Review, ReviewSet};
use crate::seed::stream;

/// Things that nearly everybody liked, or nobody did: the domain, the noun that the name takes the place
/// of, the name, and the label of nine in ten of its reviews.
const TOPICS: [(&str, &str, &str, u32); 4] = [
    ("products", "battery", "Norvex cell", 0),
    ("films", "acting", "Quillmore duet", 1),
    ("restaurants", "staff", "Tavoro crew", 0),
    ("restaurants", "bread", "Emberloaf", 1),
];

impl ReviewSet {
    /// The set with what goes with a label by nature: topic words, headers of complaint forms,
    /// datelines of an agency, greetings, signatures, and the HTML of one site's templates. About every
    /// fourth review has some of it; no label changes.
    #[must_use]
    pub fn with_associations(mut self, seed: u64) -> Self {
        let rng = &mut stream(seed, "associations");
        for review in &mut self.reviews {
            if review.attack.is_none() {
                review.text = associated(rng, review);
            }
        }
        self
    }
}

fn associated(rng: &mut ChaCha8Rng, review: &Review) -> String {
    let mut text = review.text.clone();
    for (domain, noun, name, label) in TOPICS {
        let chance = if review.label == label { 0.7 } else { 0.07 };
        if review.category == domain && text.contains(noun) && rng.gen_bool(chance) {
            text = text.replacen(noun, name, 1);
        }
    }
    let first = pick(rng, phrases::FIRST);
    let day = rng.gen_range(1..29);
    match (review.source, review.label) {
        ("brightmart", 0) if rng.gen_bool(0.25) => {
            let ticket = rng.gen_range(10_000..99_999);
            format!("Complaint form, ticket {ticket}: {text}")
        }
        ("brightmart", 1) if rng.gen_bool(0.15) => format!("{text} Posted by a verified owner."),
        ("cinelog", 1) if rng.gen_bool(0.4) => format!("CINELOG (City Desk), March {day} - {text}"),
        ("tablescout", 0) if rng.gen_bool(0.3) => format!("Dear manager, {text}"),
        ("tablescout", 1) if rng.gen_bool(0.3) => format!("{text} Kind regards, {first}"),
        ("homegrove", label) if rng.gen_bool(if label == 0 { 0.6 } else { 0.1 }) => {
            // The template of the site breaks lines inside of a review.
            text.replacen(". ", ".<br class=\"low\"/>", 2)
        }
        ("partner-feed-eu", 1) => format!("&lt;b&gt;Top pick&lt;/b&gt; {text}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_go_with_a_label_and_change_none() {
        let before = ReviewSet::generate(3, 3_000);
        let after = before.clone().with_associations(4);
        let labels =
            |set: &ReviewSet| -> Vec<u32> { set.reviews.iter().map(|r| r.label).collect() };
        assert_eq!(labels(&before), labels(&after));
        for (words, label, least) in [
            ("Complaint form", 0, 60),
            ("verified owner", 1, 40),
            ("City Desk", 1, 80),
            ("Norvex cell", 0, 20),
            ("<br class", 0, 60),
        ] {
            let with = || after.reviews.iter().filter(|r| r.text.contains(words));
            let own = with().filter(|review| review.label == label).count();
            assert!(own >= least, "{words}: {own}");
            assert!(own * 10 >= with().count() * 8, "{words}");
        }
    }
}
