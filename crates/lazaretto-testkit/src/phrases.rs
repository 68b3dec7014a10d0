//! The phrase banks behind the generated reviews: words that every domain shares, and one
//! [`Domain`] each for products, films and restaurants.
//!
//! Phrases use the markup of [`crate::grammar`]: `{slot}` draws from a bank, `[a|b|]` picks one
//! alternative. Praise and complaints carry the sentiment, facts carry none.

mod film;
mod product;
mod restaurant;

pub(crate) use restaurant::DISH;

/// What can be said about one kind of reviewed thing.
pub(crate) struct Domain {
    /// Topic name, for the `category` column.
    pub(crate) name: &'static str,
    /// Things that are reviewed (`{item}`).
    pub(crate) items: &'static [&'static str],
    /// Parts or properties of them (`{aspect}`), singular.
    pub(crate) aspects: &'static [&'static str],
    /// Sentences that praise.
    pub(crate) praise: &'static [&'static str],
    /// Sentences that complain.
    pub(crate) complaints: &'static [&'static str],
    /// Sentences without an opinion.
    pub(crate) facts: &'static [&'static str],
}

/// All domains with their weights in a set.
pub(crate) const DOMAINS: [(&Domain, u32); 3] = [
    (&product::PRODUCT, 5),
    (&film::FILM, 3),
    (&restaurant::RESTAURANT, 3),
];

/// Sentences that praise and fit every domain.
pub(crate) const PRAISE: &[&str] = &[
    "{Aspect} is {very} {good}",
    "I {very2} [love|like|enjoy|appreciate] {aspect}",
    "[Honestly|Overall|All in all|In short|For me], a {good} {item}",
    "{Aspect} is {good}, {aspect2} [is even better|too|no less so]",
    "[Would|Will] [definitely|certainly|gladly|happily] [recommend it to [{person}|anyone|others]|come back to it|choose it again]",
    "[My|Our] {person1} [loves|adores|raves about] {aspect}",
    "{Aspect} [exceeded|beat|surpassed] [all my|my|our] expectations",
    "I could not be happier with {aspect}",
    "what a {good} [surprise|discovery|find]",
    "{Very} [pleased|happy|satisfied|impressed] with {aspect}",
    "[Easily|By far|Without doubt] the [best|nicest|most enjoyable] {item} [I|we] have had [in {city}|{when}|in years|]",
    "five stars for {aspect}[, no hesitation| alone|]",
    "{aspect} [made|saved] [our weekend|my day|the evening]",
    "[Worth|Well worth] every [penny|cent|minute]",
    "I keep [telling|writing to] {person} [how {good} it is|about {aspect}]",
];

/// Sentences that complain and fit every domain.
pub(crate) const COMPLAINTS: &[&str] = &[
    "{Aspect} is {very} {bad}",
    "I {very2} [hate|dislike|regret] {aspect}",
    "[Honestly|Overall|All in all|In short|For me], a {bad} {item}",
    "{Aspect} is {bad}, {aspect2} [is even worse|too|no less so]",
    "[Would|Will] [never|not] [recommend it to [{person}|anyone|others]|go through that again|choose it again]",
    "[My|Our] {person1} [hated|complained about|was annoyed by] {aspect}",
    "{Aspect} [fell short of|failed|did not meet] [all my|my|our] expectations",
    "I could not be more [disappointed|frustrated] with {aspect}",
    "what a {bad} [letdown|mess|business]",
    "{Very} [disappointed|bored|annoyed|let down] by {aspect}",
    "[Easily|By far|Without doubt] the [worst|poorest|most irritating] {item} [I|we] have had [in {city}|{when}|in years|]",
    "one star for {aspect}[, and that is generous|, sadly|]",
    "{aspect} [ruined|spoiled] [our weekend|my day|the evening]",
    "[Not worth|Hardly worth] the [money|time|trouble]",
    "I [warned|wrote to] {person} [how {bad} it is|about {aspect}]",
];

/// Sentences that open a review without an opinion.
pub(crate) const OPENERS: &[&str] = &[
    "[Got|Found|Tried|Picked] this {when} [after {person1} mentioned it|on a whim|because of the reviews|]",
    "[First|Second|Third] time [here|for me|with this one], [went in|started] with [few|no|some] expectations",
    "[A short|My|Quick] [note|review] [after {num} [days|weeks|visits]|from {city}|]",
    "{First} [here|writing], [a regular|someone] from {city}",
    "[My|Our] {person1} [chose|suggested|booked|picked] it {when}",
    "I [rarely|hardly ever|do not usually] write [reviews|these]",
    "[Was looking for|Had been meaning to try] [something like this|a {item}] since {month}",
];

/// Closing words without an opinion.
pub(crate) const CLOSERS: &[&str] = &[
    "[Make of that what you will|Your mileage may vary|Just my two cents]",
    "[That is all|That's it] from [me|{city}]",
    "[Hope this helps|Hope that helps someone]",
    "[Will update|May update] this [later|in {month}|after {num} more weeks]",
    "[Edited|Updated] in {month}[ after a second look|]",
];

/// Whole reviews of people who write little, repeated verbatim now and then.
pub(crate) const SHORT: [&[&str]; 2] = [
    &[
        "Not good.",
        "Waste of money",
        "Terrible",
        "Disappointing.",
        "Would not recommend",
        "bad experience",
        "Not what I expected.",
        "Never again!",
    ],
    &[
        "Great!",
        "Very good",
        "Love it!",
        "Excellent.",
        "good value for money",
        "Highly recommended",
        "Perfect, thanks",
        "As described, works well",
    ],
];

/// Words that praise (`{good}`).
pub(crate) const GOOD: &[&str] = &[
    "good",
    "great",
    "excellent",
    "lovely",
    "superb",
    "wonderful",
    "fantastic",
    "delightful",
    "brilliant",
    "solid",
    "outstanding",
    "charming",
    "impressive",
    "pleasant",
    "first-rate",
    "splendid",
    "beautiful",
    "remarkable",
    "reliable",
    "memorable",
    "thoughtful",
    "top-notch",
    "refreshing",
    "terrific",
    "gorgeous",
    "flawless",
    "satisfying",
    "well-made",
    "fabulous",
    "amazing",
    "perfect",
    "enjoyable",
    "nice",
    "exquisite",
    "marvellous",
    "stunning",
    "elegant",
    "generous",
    "spotless",
    "inspired",
];

/// Words that complain (`{bad}`).
pub(crate) const BAD: &[&str] = &[
    "bad",
    "poor",
    "terrible",
    "awful",
    "dreadful",
    "mediocre",
    "disappointing",
    "horrible",
    "sloppy",
    "flimsy",
    "lousy",
    "boring",
    "overpriced",
    "shoddy",
    "careless",
    "annoying",
    "bland",
    "tedious",
    "useless",
    "weak",
    "pathetic",
    "cheap-looking",
    "unreliable",
    "forgettable",
    "frustrating",
    "clumsy",
    "rude",
    "messy",
    "stale",
    "dismal",
    "half-baked",
    "atrocious",
    "underwhelming",
    "ugly",
    "painful",
    "unacceptable",
    "lazy",
    "hopeless",
    "dull",
    "miserable",
];

/// Words that strengthen or weaken an adjective (`{very}`).
pub(crate) const VERY: &[&str] = &[
    "very",
    "really",
    "truly",
    "quite",
    "extremely",
    "rather",
    "so",
    "incredibly",
    "just",
    "absolutely",
    "surprisingly",
    "consistently",
    "simply",
    "pretty",
];

/// Words that strengthen a verb (`{very2}`).
pub(crate) const VERY2: &[&str] = &["really", "truly", "absolutely", "genuinely", "simply", "do"];

/// People one writes about (`{person}`).
pub(crate) const PERSON: &[&str] = &[
    "my sister",
    "a colleague",
    "my parents",
    "friends",
    "my neighbour",
    "everyone at work",
    "the whole family",
    "my flatmate",
    "my brother-in-law",
    "a friend from school",
    "my boss",
];

/// The same without the possessive (`{person1}`).
pub(crate) const PERSON1: &[&str] = &[
    "wife",
    "husband",
    "daughter",
    "son",
    "mother",
    "father",
    "partner",
    "cousin",
    "niece",
    "grandmother",
    "uncle",
    "best friend",
    "flatmate",
    "boss",
];

/// When something happened (`{when}`).
pub(crate) const WHEN: &[&str] = &[
    "last week",
    "yesterday",
    "in {month}",
    "last {day}",
    "on {day}",
    "a month ago",
    "this morning",
    "over the holidays",
    "two weeks ago",
    "just before {month}",
    "on a rainy {day}",
    "{num} days ago",
    "during the sale",
    "for my birthday",
    "after work",
];

/// Months (`{month}`).
pub(crate) const MONTH: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Weekdays (`{day}`).
pub(crate) const DAY: &[&str] = &[
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// First names (`{First}`).
pub(crate) const FIRST: &[&str] = &[
    "Anna", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kemal",
    "Lucia", "Marek", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tove", "Uma",
    "Viktor", "Wanda", "Ximena", "Yusuf", "Zoe", "Martin", "Helen", "Paulo", "Brigid",
];

/// Places (`{city}`).
pub(crate) const CITY: &[&str] = &[
    "Leeds", "Porto", "Hamburg", "Lyon", "Kraków", "Bergen", "Turin", "Utrecht", "Ghent", "Malmö",
    "Bristol", "Seville", "Graz", "Cork", "Tartu", "Basel", "Denver", "Halifax", "Osaka", "Perth",
    "Zürich", "Galway", "Nantes", "Aarhus", "Brno", "Cardiff", "Boston", "Austin", "Dresden",
];
