//! E-mail addresses of persons.

use super::{Kind, Personal};

/// Names of hosts that stand for any host.
const EXAMPLE_HOSTS: &[&str] = &[
    "example",
    "test",
    "domain",
    "company",
    "yourcompany",
    "mycompany",
    "yourdomain",
    "mydomain",
    "sample",
    "somewhere",
    "acme",
    "email",
    "website",
    "site",
    "foo",
    "bar",
    "abc",
    "xyz",
    "server",
    "host",
    "localhost",
    "business",
    "organization",
    "fakeemail",
    "dummy",
    "anydomain",
    "someone",
    "provider",
    "address",
    "demo",
    "placeholder",
];
/// Top-level domains that are reserved, or no domains at all: files and modules.
const NO_DOMAINS: &[&str] = &[
    "example",
    "test",
    "invalid",
    "localhost",
    "local",
    "internal",
    "lan",
    "py",
    "js",
    "java",
    "cpp",
    "png",
    "jpg",
    "txt",
    "json",
    "html",
    "css",
    "md",
    "sh",
    "rs",
    "ts",
];
/// Accounts that belong to a function and not to a person.
const ROLES: &[&str] = &[
    "info",
    "support",
    "sales",
    "contact",
    "admin",
    "administrator",
    "hello",
    "help",
    "helpdesk",
    "noreply",
    "no-reply",
    "donotreply",
    "do-not-reply",
    "webmaster",
    "postmaster",
    "hostmaster",
    "office",
    "service",
    "services",
    "press",
    "media",
    "marketing",
    "jobs",
    "careers",
    "hr",
    "team",
    "billing",
    "feedback",
    "enquiries",
    "inquiries",
    "newsletter",
    "news",
    "mail",
    "email",
    "abuse",
    "security",
    "privacy",
    "legal",
    "orders",
    "order",
    "customerservice",
    "customer",
    "customercare",
    "reservations",
    "booking",
    "bookings",
    "events",
    "editor",
    "letters",
    "subscribe",
    "unsubscribe",
    "root",
    "git",
    "kontakt",
    "contacto",
    "ventas",
    "vertrieb",
    "buero",
    "accueil",
    "recruitment",
    "recruiting",
];
/// Accounts that people make up.
const MADE_UP: &[&str] = &[
    "user",
    "username",
    "name",
    "your",
    "yourname",
    "youremail",
    "your_email",
    "your.name",
    "my",
    "me",
    "someone",
    "somebody",
    "example",
    "test",
    "tester",
    "testing",
    "foo",
    "bar",
    "abc",
    "xyz",
    "john",
    "johndoe",
    "john.doe",
    "john_doe",
    "jdoe",
    "j.doe",
    "jane",
    "janedoe",
    "jane.doe",
    "jane_doe",
    "doe",
    "alice",
    "bob",
    "carol",
    "dan",
    "dave",
    "eve",
    "recipient",
    "sender",
    "receiver",
    "from",
    "to",
    "myemail",
    "my_email",
    "email",
    "first.last",
    "firstname.lastname",
    "firstname",
    "lastname",
    "sample",
    "demo",
    "dummy",
    "fake",
    "joe",
    "mary",
    "person",
    "student",
    "employee",
    "johnsmith",
    "john.smith",
    "jsmith",
    "customer",
    "client",
    "manager",
];
/// Hosts where private persons have their accounts.
const PRIVATE_HOSTS: &[&str] = &[
    "gmail",
    "googlemail",
    "yahoo",
    "hotmail",
    "outlook",
    "live",
    "icloud",
    "aol",
    "gmx",
    "web",
    "protonmail",
    "proton",
    "mail",
    "msn",
    "me",
    "ymail",
    "orange",
    "free",
    "libero",
    "t-online",
    "wanadoo",
    "comcast",
    "verizon",
    "qq",
    "163",
    "126",
    "naver",
    "yandex",
    "rediffmail",
    "btinternet",
    "laposte",
    "uol",
    "bol",
    "terra",
    "wp",
    "o2",
    "seznam",
    "ziggo",
    "telenet",
];

/// The addresses of persons in `text`.
pub(super) fn find(text: &str) -> Vec<Personal> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut free = 0;
    for (at, _) in text.match_indices('@') {
        let before = bytes[free..at].iter().rev().take(64);
        let local = before
            .take_while(|&&byte| byte.is_ascii_alphanumeric() || b"._%+-".contains(&byte))
            .count();
        let after = bytes[at + 1..].iter().take(128);
        let host = after
            .take_while(|&&byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
            .count();
        let account = text[at - local..at].trim_start_matches(['.', '-', '%', '+', '_']);
        let domain = text[at + 1..at + 1 + host].trim_end_matches(['.', '-']);
        let weight = weight(account, domain);
        if weight > 0.0 {
            free = at + 1 + domain.len();
            found.push(Personal {
                kind: Kind::Email,
                range: at - account.len()..free,
                weight,
            });
        }
    }
    found
}

fn weight(account: &str, domain: &str) -> f64 {
    let (account, domain) = (account.to_ascii_lowercase(), domain.to_ascii_lowercase());
    let labels: Vec<&str> = domain.split('.').collect();
    let [.., host, top] = labels.as_slice() else {
        return 0.0;
    };
    let is_domain = top.len() >= 2
        && top.bytes().all(|byte| byte.is_ascii_lowercase())
        && labels.iter().all(|label| !label.is_empty());
    if account.is_empty() || !is_domain || NO_DOMAINS.contains(top) {
        return 0.0;
    }
    // In `co.uk` the name stands one further to the left.
    let host = match labels.as_slice() {
        [
            ..,
            name,
            "co" | "com" | "org" | "net" | "ac" | "gov" | "edu",
            _,
        ] => name,
        _ => host,
    };
    let example = |name: &str| {
        EXAMPLE_HOSTS.contains(&name) || name.contains("example") || name.starts_with("your")
    };
    if labels.iter().any(|label| example(label)) {
        return 0.0;
    }
    let bare = account.trim_end_matches(|c: char| c.is_ascii_digit());
    if ROLES.contains(&bare)
        || account
            .split(['.', '-', '_', '+'])
            .next()
            .is_some_and(|part| ROLES.contains(&part))
    {
        return 0.0;
    }
    if MADE_UP.contains(&account.as_str()) || account.starts_with("your") || bare.is_empty() {
        return 0.0;
    }
    // `alice1`, `user123`: the number makes it no less made up.
    if MADE_UP.contains(&bare) && !account.contains('.') {
        return 0.0;
    }
    let named = bare
        .split(['.', '_'])
        .filter(|part| part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_lowercase()))
        .count()
        == 2;
    // An account at work is public sooner than one at home; `given.family` is a name as well.
    let weight = if PRIVATE_HOSTS.contains(host) {
        0.5
    } else {
        0.4
    };
    if named { weight + 0.1 } else { weight }
}
