//! The rules of inference, in the order of the table in [`super`].

use arrow::datatypes::DataType;
use lazaretto_core::Role;

use super::given::{is_messages, is_string, is_strings, vector_item};
use super::{Columns, names};

/// Strings shorter than this on average can be names of classes and sources.
const NAME_LENGTH: f64 = 64.0;

/// Gives a role to every column that a rule speaks about.
pub(super) fn infer(columns: &mut Columns<'_>) {
    partitions(columns);
    hugging_face(columns);
    images(columns);
    messages(columns);
    ids(columns);
    vectors(columns);
    labels(columns);
    digests(columns);
    urls(columns);
    sources(columns);
    times(columns);
    prompts(columns);
    strings(columns);
    numbers(columns);
}

fn partitions(columns: &mut Columns<'_>) {
    for column in columns.open() {
        if column >= columns.n_own {
            columns.assign(column, Role::Other, "partition value from the path");
        }
    }
}

fn hugging_face(columns: &mut Columns<'_>) {
    for column in columns.open() {
        match columns.features.kind(columns.schema.field(column).name()) {
            Some("ClassLabel") if columns.wanted(Role::Label) => {
                columns.assign(column, Role::Label, "Hugging Face ClassLabel");
            }
            Some("Image") => columns.assign(column, Role::Image, "Hugging Face Image"),
            _ => {}
        }
    }
}

fn images(columns: &mut Columns<'_>) {
    let is_bytes = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        )
    };
    for column in columns.open() {
        let name = columns.name(column);
        let bytes = match columns.data_type(column) {
            DataType::Struct(fields) => fields
                .iter()
                .any(|field| field.name() == "bytes" && is_bytes(field.data_type())),
            other => is_bytes(other),
        };
        if bytes && names::IMAGE.contains(&name.as_str()) {
            columns.assign(column, Role::Image, format!("bytes named `{name}`"));
        }
    }
}

fn messages(columns: &mut Columns<'_>) {
    for column in columns.open() {
        if is_messages(columns.data_type(column)) {
            columns.assign(column, Role::Messages, "a list of chat turns");
        }
    }
}

/// Columns named in `known`, in the order of `known`; then those for which `also` holds.
fn named(columns: &Columns<'_>, known: &[&str], also: impl Fn(&str) -> bool) -> Vec<usize> {
    let open = columns.open();
    let mut found: Vec<usize> = known
        .iter()
        .flat_map(|known| {
            open.iter()
                .copied()
                .filter(move |&column| columns.name(column) == **known)
        })
        .collect();
    for column in open {
        if !found.contains(&column) && also(&columns.name(column)) {
            found.push(column);
        }
    }
    found
}

fn ids(columns: &mut Columns<'_>) {
    for column in named(columns, names::ID, |name| name.ends_with("_id")) {
        let data_type = columns.data_type(column);
        let scalar = is_string(data_type) || data_type.is_integer();
        if !scalar || !columns.sample(column).unique() {
            continue;
        }
        let name = columns.name(column);
        if columns.wanted(Role::Id) {
            let reason = format!("named `{name}`, every value different in the sample");
            columns.assign(column, Role::Id, reason);
        } else {
            columns.assign(column, Role::Other, "an id beside the record id");
        }
    }
}

fn vectors(columns: &mut Columns<'_>) {
    for column in named(columns, names::PROBABILITIES, |_| false) {
        if columns.wanted(Role::Probabilities) && columns.sample(column).adds_up {
            let reason = "named like probabilities, the numbers add up to 1";
            columns.assign(column, Role::Probabilities, reason);
        }
    }
    let is_vector = |columns: &Columns<'_>, column: usize| {
        vector_item(columns.data_type(column)).is_some_and(DataType::is_floating)
    };
    for column in named(columns, names::EMBEDDING, |name| {
        name.ends_with("_embedding")
    }) {
        let Some(length) = columns.sample(column).vector_length else {
            continue;
        };
        if is_vector(columns, column) && columns.wanted(Role::Embedding) {
            let numbers = length_in_words(columns, column, length);
            let reason = format!("`{}`, {numbers}", columns.name(column));
            columns.assign(column, Role::Embedding, reason);
        }
    }
    let rest: Vec<usize> = columns
        .open()
        .into_iter()
        .filter(|&column| is_vector(columns, column))
        .collect();
    if let ([column], true) = (rest.as_slice(), columns.wanted(Role::Embedding))
        && let Some(length) = columns.sample(*column).vector_length
        && length > 1
    {
        let numbers = length_in_words(columns, *column, length);
        let reason = format!("the only column of vectors, {numbers}");
        columns.assign(*column, Role::Embedding, reason);
    }
    for column in columns.open() {
        let sample = columns.sample(column);
        if is_vector(columns, column) && sample.values > 0 && sample.vector_length.is_none() {
            let reason = "lists of numbers of many lengths, which are no vectors";
            columns.assign(column, Role::Other, reason);
        }
    }
}

/// `64 numbers each`, and how many lists have another length, if any.
fn length_in_words(columns: &Columns<'_>, column: usize, length: usize) -> String {
    let ragged = 100.0 * columns.sample(column).ragged;
    if ragged > 0.0 {
        format!("{length} numbers each but for {ragged:.1} % of the sample")
    } else {
        format!("{length} numbers each")
    }
}

fn labels(columns: &mut Columns<'_>) {
    /// More classes than this are hardly classes.
    const CLASSES: usize = 1_000;
    for column in named(columns, names::LABEL, |_| false) {
        let sample = columns.sample(column);
        let data_type = columns.data_type(column);
        let few = sample.values > 0 && sample.distinct <= CLASSES && sample.repeats();
        let discrete = match data_type {
            DataType::Boolean => true,
            other if is_string(other) => sample.mean_length <= NAME_LENGTH,
            other if other.is_integer() => true,
            other => other.is_floating() && sample.whole && sample.distinct <= 20,
        };
        if few && discrete && columns.wanted(Role::Label) {
            let reason = format!(
                "named `{}`, {} distinct values in the sample",
                columns.name(column),
                sample.distinct
            );
            columns.assign(column, Role::Label, reason);
        }
    }
}

fn digests(columns: &mut Columns<'_>) {
    for column in named(columns, names::CONTENT_HASH, |name| {
        name.ends_with("_sha256") || name.ends_with("_md5")
    }) {
        if is_string(columns.data_type(column)) && columns.sample(column).digests >= 0.9 {
            let reason = format!("hexadecimal, named `{}`", columns.name(column));
            columns.assign(column, Role::ContentHash, reason);
        }
    }
}

fn urls(columns: &mut Columns<'_>) {
    for column in columns.open() {
        if !is_string(columns.data_type(column)) {
            continue;
        }
        let name = columns.name(column);
        if names::URL.contains(&name.as_str()) && !columns.sample(column).prose() {
            columns.assign(column, Role::Url, format!("named `{name}`"));
        } else if columns.sample(column).urls >= 0.9 && columns.sample(column).mean_spaces < 1.0 {
            columns.assign(column, Role::Url, "the values are web addresses");
        }
    }
}

fn sources(columns: &mut Columns<'_>) {
    for column in named(columns, names::SOURCE, |_| false) {
        let sample = columns.sample(column);
        let data_type = columns.data_type(column);
        let name_like = if is_string(data_type) {
            sample.mean_length <= NAME_LENGTH && !sample.prose()
        } else {
            data_type.is_integer()
        };
        if !name_like || sample.values == 0 || !sample.repeats() {
            continue;
        }
        if columns.wanted(Role::Source) {
            let reason = format!(
                "named `{}`, {} distinct values in the sample",
                columns.name(column),
                sample.distinct
            );
            columns.assign(column, Role::Source, reason);
        } else {
            // Who made a record must not become a feature by which a model learns what he does.
            columns.assign(column, Role::Other, "a column of sources beside the source");
        }
    }
}

fn times(columns: &mut Columns<'_>) {
    for column in named(columns, names::TIME, |name| name.ends_with("_at")) {
        let sample = columns.sample(column);
        let data_type = columns.data_type(column);
        let is_time = if is_string(data_type) {
            sample.dates >= 0.9
        } else if data_type.is_numeric() {
            // Epoch seconds to nanoseconds since about 1990; `time` of a race is not.
            sample
                .range
                .is_some_and(|(low, high)| low >= 6e8 && high < 4e18)
        } else {
            is_moment(data_type)
        };
        if is_time && columns.wanted(Role::Time) {
            let reason = format!("{data_type} named `{}`", columns.name(column));
            columns.assign(column, Role::Time, reason);
        }
    }
    for column in columns.open() {
        let timestamp = matches!(columns.data_type(column), DataType::Timestamp(_, _));
        if timestamp && columns.wanted(Role::Time) {
            columns.assign(column, Role::Time, "the first timestamp");
        }
    }
}

fn is_moment(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64
    )
}

fn prompts(columns: &mut Columns<'_>) {
    let strings = |columns: &Columns<'_>, known: &[&str]| -> Vec<usize> {
        let mut found = named(columns, known, |_| false);
        found.retain(|&column| is_string(columns.data_type(column)));
        found
    };
    let prompts = strings(columns, names::PROMPT);
    let responses = strings(columns, names::RESPONSE);
    let has = |role: Role, found: &[usize]| {
        !found.is_empty()
            || columns
                .roles
                .iter()
                .flatten()
                .any(|(other, _)| *other == role)
    };
    // One without the other is text like any other, but that chat turns may be either of them, and
    // two answers to choose from contain their prompt.
    let chats = has(Role::Messages, &[]);
    let preference = names::PREFERENCE.iter().all(|name| {
        let mut answers = responses.iter();
        answers.any(|&column| columns.name(column) == **name)
    });
    let asked = has(Role::Prompt, &prompts) || chats || preference;
    if !asked || !(has(Role::Response, &responses) || chats) {
        return;
    }
    for (found, role) in [(prompts, Role::Prompt), (responses, Role::Response)] {
        if !columns.wanted(role) {
            continue;
        }
        for column in found {
            let reason = format!("named `{}`, with its counterpart", columns.name(column));
            columns.assign(column, role, reason);
        }
    }
}

fn strings(columns: &mut Columns<'_>) {
    for column in columns.open() {
        let name = columns.name(column);
        let dialogue = names::DIALOGUE.contains(&name.as_str());
        if dialogue && is_strings(columns.data_type(column)) && columns.wanted(Role::Text) {
            columns.assign(
                column,
                Role::Text,
                format!("lists of strings named `{name}`"),
            );
        }
        if !is_string(columns.data_type(column)) {
            continue;
        }
        let sample = columns.sample(column);
        let listed = [names::TEXT, names::PROMPT, names::RESPONSE]
            .iter()
            .any(|known| known.contains(&name.as_str()));
        let several_words = sample.mean_spaces >= 1.0 && sample.distinct > 20;
        let (role, reason) = if sample.values == 0 {
            (Role::Other, "no values in the sample".to_owned())
        } else if sample.prose() {
            let reason = format!(
                "long strings, {:.0} characters on average",
                sample.mean_length
            );
            (Role::Text, reason)
        } else if listed && (several_words || !sample.repeats()) {
            (Role::Text, format!("strings named `{name}`"))
        } else if sample.repeats() {
            let reason = format!("short strings, {} distinct in the sample", sample.distinct);
            (Role::Categorical, reason)
        } else if several_words {
            (Role::Text, "distinct strings of several words".to_owned())
        } else {
            (Role::Other, "short strings that hardly repeat".to_owned())
        };
        if role == Role::Text && !columns.wanted(Role::Text) {
            columns.assign(column, Role::Other, "text columns were given");
        } else {
            columns.assign(column, role, reason);
        }
    }
}

fn numbers(columns: &mut Columns<'_>) {
    for column in columns.open() {
        let data_type = columns.data_type(column);
        let reason = if *data_type == DataType::Boolean {
            "booleans"
        } else if data_type.is_numeric() {
            "numbers"
        } else if is_moment(data_type)
            || matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
        {
            "dates or times"
        } else {
            continue;
        };
        columns.assign(column, Role::Numeric, reason);
    }
}
