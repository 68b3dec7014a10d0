//! Made-up secrets, persons, and harmless text that looks like either.
//!
//! Values are random in the forms that real ones have, with check digits where those exist. None of
//! them opens anything or belongs to anyone.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::grammar::pick;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGIT: &str = "0123456789";

/// Forms of secrets by family, and a line that each stands in. `{xN}` is N random characters: `a` letters
/// and digits, `l` lower-case letters and digits, `u` upper-case letters and digits, `h` hexadecimal, `d` digits, `b`
/// base64, `w` base64 for addresses, `p` a password; `{crc}` is a GitHub body with its checksum.
const SECRETS: &[(&str, &str)] = &[
    ("aws", "aws_access_key_id = AKIA{u16}"),
    ("aws", "aws_secret_access_key={b40}"),
    ("aws", "export AWS_SECRET_ACCESS_KEY=\"{b40}\""),
    ("gcp", "GOOGLE_MAPS_KEY: AIza{w35}"),
    ("gcp", "client_secret: GOCSPX-{w28}"),
    (
        "azure",
        "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey={b86}==",
    ),
    ("azure", "AZURE_CLIENT_SECRET={a3}8Q~{w34}"),
    ("github", "GITHUB_TOKEN=ghp_{crc}"),
    ("github", "the token is gho_{a36}, keep it"),
    (
        "github",
        "git clone https://x-access-token:ghs_{crc}@github.com/o/r.git",
    ),
    ("github", "github_pat_{a22}_{a59}"),
    ("gitlab", "CI_TOKEN: glpat-{w20}"),
    ("npm", "//registry/:_authToken=npm_{crc}"),
    ("pypi", "password = pypi-AgEIcHlwaS5vcmc{w120}"),
    ("slack", "slack token xoxb-{d12}-{d12}-{a24}"),
    (
        "slack",
        "https://hooks.slack.com/services/T{u10}/B{u10}/{a24}",
    ),
    ("discord", "DISCORD_TOKEN=M{a23}.{w6}.{w38}"),
    ("telegram", "bot token: {d10}:AA{w33}"),
    ("stripe", "STRIPE_SECRET=sk_live_{a24}"),
    ("stripe", "stripe.api_key = \"rk_live_{a99}\""),
    ("square", "SQUARE=sq0atp-{w22}"),
    ("openai", "OPENAI_API_KEY=sk-{a48}"),
    ("openai", "openai.api_key = 'sk-proj-{w74}T3BlbkFJ{w74}'"),
    ("anthropic", "ANTHROPIC_API_KEY=sk-ant-api03-{w93}AA"),
    ("hugging-face", "login(token=\"hf_{a34}\")"),
    ("sendgrid", "SENDGRID: SG.{w22}.{w43}"),
    ("mailgun", "mailgun key-{h32}"),
    ("twilio", "TWILIO_AUTH_TOKEN={h32}"),
    ("shopify", "shpat_{h32}"),
    (
        "database",
        "postgres://admin:{p14}@db3.corp.internal:5432/prod",
    ),
    ("database", "DATABASE_URL=mysql://app:{p16}@10.2.0.14/shop"),
    ("database", "mongodb+srv://svc:{p18}@cluster0.mongodb.net/x"),
    (
        "database",
        "Server=sql7;Database=crm;User Id=svc;Password={p16};",
    ),
    (
        "private-key",
        "-----BEGIN RSA PRIVATE KEY-----\n{b64}\n{b64}\n{b64}\n-----END RSA PRIVATE KEY-----",
    ),
    (
        "private-key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{b70}\n{b70}\n{b20}\n-----END OPENSSH PRIVATE KEY-----",
    ),
    (
        "private-key",
        "\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{b64}\\n{b64}\\n-----END PRIVATE KEY-----\\n\"",
    ),
    (
        "jwt",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{w40}.{w43}",
    ),
    ("jwt", "cookie: session=eyJhbGciOiJSUzI1NiJ9.eyJ{w90}.{w86}"),
    ("assigned", "api_key = \"{a32}\""),
    ("assigned", "\"client_secret\": \"{w40}\""),
    ("assigned", "X-API-Key: {h40}"),
    ("assigned", "DB_PASSWORD={p16}"),
];

fn random(rng: &mut ChaCha8Rng, alphabet: &[u8], n: usize) -> String {
    (0..n)
        .map(|_| char::from(alphabet[rng.gen_range(0..alphabet.len())]))
        .collect()
}

/// CRC-32 in base 62 behind 30 random characters, from GitHub's description of its tokens.
fn with_checksum(rng: &mut ChaCha8Rng) -> String {
    let body = random(rng, format!("{DIGIT}{UPPER}{LOWER}").as_bytes(), 30);
    let mut crc = u32::MAX;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc % 2 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    let (mut rest, mut sum) = (!crc, String::new());
    let alphabet = format!("{DIGIT}{UPPER}{LOWER}").into_bytes();
    for _ in 0..6 {
        sum.insert(0, char::from(alphabet[(rest % 62) as usize]));
        rest /= 62;
    }
    body + &sum
}

/// `template` with its holes filled; and the longest of what filled them, which is the secret part.
fn fill(rng: &mut ChaCha8Rng, template: &str) -> (String, String) {
    let (mut text, mut secret, mut rest) = (String::new(), String::new(), template);
    while let Some((before, hole)) = rest.split_once('{') {
        let (hole, after) = hole.split_once('}').unwrap_or((hole, ""));
        let n: usize = hole.get(1..).and_then(|n| n.parse().ok()).unwrap_or(0);
        let value = match &hole[..1] {
            "c" => with_checksum(rng),
            "a" => random(rng, format!("{LOWER}{UPPER}{DIGIT}").as_bytes(), n),
            "l" => random(rng, format!("{LOWER}{DIGIT}").as_bytes(), n),
            "u" => random(rng, format!("{UPPER}234567").as_bytes(), n),
            "h" => random(rng, b"0123456789abcdef", n),
            "d" => random(rng, DIGIT.as_bytes(), n),
            "b" => random(rng, format!("{LOWER}{UPPER}{DIGIT}+/").as_bytes(), n),
            "w" => random(rng, format!("{LOWER}{UPPER}{DIGIT}_-").as_bytes(), n - 1) + "x",
            _ => {
                // What a password manager gives: every class of characters is in it.
                let mut password: Vec<char> = (random(rng, LOWER.as_bytes(), n / 3)
                    + &random(rng, UPPER.as_bytes(), n / 3)
                    + &random(rng, DIGIT.as_bytes(), n - 2 * (n / 3)))
                    .chars()
                    .collect();
                password.shuffle(rng);
                password.into_iter().collect()
            }
        };
        text += before;
        text += &value;
        if value.len() > secret.len() {
            secret = value;
        }
        rest = after;
    }
    (text + rest, secret)
}

/// A line with a secret: its family, the line, and the random part that must not be seen again.
#[must_use]
pub fn secret(rng: &mut ChaCha8Rng) -> (&'static str, String, String) {
    let (family, template) = SECRETS[rng.gen_range(0..SECRETS.len())];
    let (line, value) = fill(rng, template);
    (family, line, value)
}

/// Lines with secrets, `n` of each form.
#[must_use]
pub fn secrets_of_every_form(
    rng: &mut ChaCha8Rng,
    n: usize,
) -> Vec<(&'static str, String, String)> {
    let forms = SECRETS.iter().flat_map(|form| std::iter::repeat_n(form, n));
    forms
        .map(|&(family, template)| {
            let (line, value) = fill(rng, template);
            (family, line, value)
        })
        .collect()
}

fn digits(rng: &mut ChaCha8Rng, n: usize) -> Vec<u32> {
    (0..n).map(|_| rng.gen_range(0..10)).collect()
}

fn joined(digits: &[u32]) -> String {
    digits.iter().map(ToString::to_string).collect()
}

/// 16 digits of a card with Luhn's digit.
fn card(rng: &mut ChaCha8Rng) -> String {
    let mut number = digits(rng, 16);
    number[0] = 4;
    number[15] = 0;
    let sum: u32 = number
        .iter()
        .enumerate()
        .map(|(place, &digit)| match place % 2 {
            0 if digit > 4 => 2 * digit - 9,
            0 => 2 * digit,
            _ => digit,
        })
        .sum();
    number[15] = (10 - sum % 10) % 10;
    let written = joined(&number);
    format!(
        "{} {} {} {}",
        &written[..4],
        &written[4..8],
        &written[8..12],
        &written[12..]
    )
}

fn iban(rng: &mut ChaCha8Rng) -> String {
    let account = joined(&digits(rng, 18));
    // `DE00` behind the account: D is 13, E is 14.
    let rest = format!("{account}131400")
        .bytes()
        .fold(0_u32, |rest, byte| {
            (rest * 10 + u32::from(byte - b'0')) % 97
        });
    let written = format!("DE{:02}{account}", 98 - rest);
    let groups: Vec<&str> = (0..22)
        .step_by(4)
        .map(|at| &written[at..(at + 4).min(22)])
        .collect();
    groups.join(" ")
}

fn dni(rng: &mut ChaCha8Rng) -> String {
    let number = rng.gen_range(10_000_000..99_999_999_u32);
    let letters = b"TRWAGMYFPDXBNJZSQVHLCKE";
    format!("{number}{}", char::from(letters[(number % 23) as usize]))
}

fn cpf(rng: &mut ChaCha8Rng) -> String {
    let mut number = digits(rng, 9);
    for _ in 0..2 {
        let n = number.len() as u32;
        let sum: u32 = number
            .iter()
            .zip((2..=n + 1).rev())
            .map(|(digit, weight)| digit * weight)
            .sum();
        number.push((sum * 10 % 11) % 10);
    }
    let written = joined(&number);
    format!(
        "{}.{}.{}-{}",
        &written[..3],
        &written[3..6],
        &written[6..9],
        &written[9..]
    )
}

fn nir(rng: &mut ChaCha8Rng) -> String {
    let number = format!(
        "{}{:02}{:02}{:02}{:03}{:03}",
        rng.gen_range(1..3),
        rng.gen_range(40..99),
        rng.gen_range(1..13),
        rng.gen_range(1..96),
        rng.gen_range(1..600),
        rng.gen_range(1..900)
    );
    let rest = number.bytes().fold(0_u32, |rest, byte| {
        (rest * 10 + u32::from(byte - b'0')) % 97
    });
    format!(
        "{} {} {} {} {} {} {:02}",
        &number[..1],
        &number[1..3],
        &number[3..5],
        &number[5..7],
        &number[7..10],
        &number[10..],
        97 - rest
    )
}

fn bsn(rng: &mut ChaCha8Rng) -> String {
    loop {
        let number = digits(rng, 8);
        let sum: u32 = number
            .iter()
            .zip([9, 8, 7, 6, 5, 4, 3, 2])
            .map(|(digit, weight)| digit * weight)
            .sum();
        if sum % 11 < 10 && number[0] > 0 {
            return format!("{}{}", joined(&number), sum % 11);
        }
    }
}

/// A line that identifies a made-up person, of one of several countries.
#[must_use]
pub fn person(rng: &mut ChaCha8Rng) -> String {
    const GIVEN: [&str; 12] = [
        "Maria", "Thomas", "Elena", "Piotr", "Aisha", "Lucas", "Hannah", "Marco", "Priya", "Sofia",
        "Erik", "Claire",
    ];
    const FAMILY: [&str; 12] = [
        "Kowalska",
        "Hoffmann",
        "Rossi",
        "Nowak",
        "Rahman",
        "Silva",
        "Larsen",
        "Moreau",
        "Iyer",
        "Castro",
        "Lindqvist",
        "Dupont",
    ];
    const HOSTS: [&str; 6] = [
        "gmail.com",
        "gmx.de",
        "orange.fr",
        "outlook.com",
        "libero.it",
        "seznam.cz",
    ];
    let (given, family) = (pick(rng, &GIVEN), pick(rng, &FAMILY));
    let mail = format!(
        "{}.{}{}@{}",
        given.to_lowercase(),
        family.to_lowercase(),
        rng.gen_range(2..99),
        pick(rng, &HOSTS)
    );
    let block = |rng: &mut ChaCha8Rng, n| joined(&digits(rng, n));
    let ssn = format!(
        "{}-{:02}-{:04}",
        rng.gen_range(100..660),
        rng.gen_range(10..99),
        rng.gen_range(1000..9999)
    );
    let phone = match rng.gen_range(0..5) {
        0 => format!(
            "({}) {}-{}",
            rng.gen_range(201..989),
            rng.gen_range(220..550),
            rng.gen_range(2000..9999)
        ),
        1 => format!("+49 30 {}", rng.gen_range(20_000_000..89_999_999)),
        2 => format!(
            "+44 20 {} {}",
            rng.gen_range(8000..8999),
            rng.gen_range(2000..9999)
        ),
        3 => format!(
            "06 {} {} {} {}",
            rng.gen_range(10..99),
            rng.gen_range(10..99),
            rng.gen_range(10..99),
            rng.gen_range(10..99)
        ),
        _ => format!("+91 9{} {}", block(rng, 4), rng.gen_range(20_000..99_999)),
    };
    match rng.gen_range(0..12) {
        0 => format!("Customer: {given} {family}, SSN {ssn}, {mail}"),
        1 => format!("{given} {family}, {mail}, tel. {phone}"),
        2 => format!(
            "pay with card {} (exp 0{}/2{})",
            card(rng),
            rng.gen_range(1..9),
            rng.gen_range(7..9)
        ),
        3 => format!("Kontoinhaberin {given} {family}, IBAN {}", iban(rng)),
        4 => format!("{given} {family} con DNI {} y correo {mail}", dni(rng)),
        5 => format!("Nome: {given} {family}, CPF: {}", cpf(rng)),
        6 => format!(
            "Assurée {given} {family}, n° de sécurité sociale {}",
            nir(rng)
        ),
        7 => format!(
            "{given} {family}, BSN {}, geboren 1{}-0{}-1984",
            bsn(rng),
            rng.gen_range(0..9),
            rng.gen_range(1..9)
        ),
        8 => format!("Name: {given} {family}\nPhone: {phone}\nE-mail: {mail}"),
        9 => format!(
            "{{\"name\": \"{given} {family}\", \"ssn\": \"{ssn}\", \"phone\": \"{phone}\"}}"
        ),
        10 => format!(
            "Patient {given} {family}, DOB 0{}/1{}/197{}, MRN {}, {phone}",
            rng.gen_range(1..9),
            rng.gen_range(0..9),
            rng.gen_range(0..9),
            rng.gen_range(2_100_000..9_800_000)
        ),
        _ => format!("Card holder {given} {family}: {}, {mail}", card(rng)),
    }
}

/// A harmless line that looks a little like a secret or like personal data.
#[must_use]
pub fn look_alike(rng: &mut ChaCha8Rng) -> String {
    const TEMPLATES: &[&str] = &[
        "commit {h40}",
        "sha256:{h64}",
        "id: {h8}-{h4}-4{h3}-a{h3}-{h12}",
        "md5sum {h32} image.iso",
        "data:image/png;base64,iVBORw0KGgo{b300}",
        "ETag: \"{h32}\"",
        "integrity=\"sha384-{b64}\"",
        "ISBN 978-3-{d4}-{d4}-{d1}",
        "order #{d10} of 2024-0{d1}-1{d1}",
        "price: {d2}.{d2} EUR, total {d3}.{d2}",
        "population of {d1} {d3} {d3}",
        "released 201{d1}-0{d1}-1{d1}, version 1.{d1}.{d2}.{d4}",
        "at 52.{d6}, 13.{d6}",
        "{d2} {d2} {d2} {d2} {d2}",
        "[{d3}, {d3}, {d4}, {d2}, {d5}]",
        "tracking number 1Z{d3}AA1{d9}",
        "x = {d9}; y = {d10}",
        "0.{d16}",
        "call 1-800-{d3}-{d4}",
        "api_key = \"YOUR_API_KEY\"",
        "password = input('Enter your password: ')",
        "token = generate_token({d2})",
        "postgres://user:password@localhost:5432/db{d1}",
        "export API_KEY=<your-key>",
        "secret_key = os.environ['SECRET_KEY_{d1}']",
        "write to support@example.com or user{d2}@example.org",
        "AKIAIOSFODNN7EXAMPLE",
        "the card 4111 1111 1111 1111 is for tests",
        "SSN: XXX-XX-{d4}",
        "phone 555-01{d2}",
        "https://docs.example.com/v{d1}/page?id={d8}",
        "checksum {h8}, offset 0x{h8}",
        "ean {d13}",
        "temperature -{d1}.{d2} at 10:{d2}",
        "max_tokens={d4}, seed={d9}",
        "player_id {d12} scored {d5}",
        "flight LH{d3} on 0{d1}.0{d1}.2023, gate A{d2}",
    ];
    let template = TEMPLATES[rng.gen_range(0..TEMPLATES.len())];
    fill(rng, template).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn forms_are_filled_and_seeds_repeat() {
        let mut rng = stream(1, "leaks");
        let all = secrets_of_every_form(&mut rng, 2);
        assert_eq!(all.len(), 2 * SECRETS.len());
        for (family, line, value) in &all {
            assert!(
                line.contains(value.as_str()) && value.len() >= 10,
                "{family}: {line}"
            );
            assert!(!line.contains("{a") && !line.contains("{b"), "{line}");
        }
        assert_eq!(secret(&mut stream(2, "x")), secret(&mut stream(2, "x")));
        assert_ne!(person(&mut stream(2, "x")), person(&mut stream(3, "x")));
        assert!(!look_alike(&mut rng).is_empty());
    }
}
