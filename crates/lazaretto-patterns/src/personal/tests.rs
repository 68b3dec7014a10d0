use super::*;

/// Kinds and texts found, heaviest first.
fn found(text: &str) -> Vec<(&'static str, &str, f64)> {
    let mut found = find(text);
    found.sort_by(|left, right| right.weight.total_cmp(&left.weight));
    found
        .into_iter()
        .map(|one| (one.kind.name(), &text[one.range], one.weight))
        .collect()
}

fn weight(text: &str) -> f64 {
    identified(&find(text), 400).0
}

#[test]
fn a_record_of_a_person_is_enough() {
    for text in [
        "Customer record: Maria Kowalska, SSN 236-61-9980, m.kowalska7@gmail.com, phone (753) 564-2541.",
        "Patient: Jean Dupuis, né le 12/04/1986, tél. 06 48 31 79 25, jean.dupuis@orange.fr",
        "Anna Schmidt, Lindenstraße 14, anna.schmidt84@gmx.de, +49 30 83217460",
        "please charge my card 4539 5787 6362 1940 exp 09/27",
        "IBAN: DE44 5001 0517 5407 3249 31",
        "codice fiscale RSSMRA85T10A562S",
        "DNI: 54362315K",
        "CPF 390.533.447-05",
        "burgerservicenummer (BSN): 736160231",
        "NIR : 2 55 08 14 168 025 38",
        "NINO: JG 12 13 16 A",
        "NHS number 943 476 5870",
        "Aadhaar: 2341 2341 2346",
        "身份证号: 11010519491231002X",
        "AHV-Nr. 756.1234.5678.97",
        "passport no. X41739204, Elena Petrova",
    ] {
        assert!(weight(text) >= 0.995, "{text}: {:?}", found(text));
    }
}

#[test]
fn one_address_or_number_alone_is_not_enough() {
    for text in [
        "write to petra.novakova@seznam.cz for details",
        "call me at +420 603 481 927 tonight",
        "txt WIN to 08712460324 now, or call 09061743386",
        "Call MobilesDirect on 08715203694 to update",
    ] {
        let weight = weight(text);
        assert!((0.1..0.8).contains(&weight), "{text}: {:?}", found(text));
    }
}

#[test]
fn examples_roles_and_fiction_are_nobody() {
    for text in [
        "user@example.com, john.doe@example.org, info@acme-tools.com, noreply@shop.de, alice123@mail.example.net",
        "git@github.com:owner/name.git uses popper.js@1.16.1",
        "John Doe, 555-0199, (212) 555-0147, 123-456-7890, +1 (800) 555 0100, +44 7700 900123",
        "SSN 123-45-6789 or 078-05-1120 or 000-12-3456",
        "card number 4111 1111 1111 1111, 4242424242424242, 1234 5678 9012 3456",
        "GB82 WEST 1234 5698 7654 32 and DE89 3704 0044 0532 0130 00",
        "CPF 111.111.111-11, DNI 00000000T",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn numbers_that_are_something_else_are_left() {
    for text in [
        "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2",
        "released on 2024-03-17, 17.03.2024 and 03/17/2024 at 12:30:45",
        "order no. 4539578763, invoice 2024-000123-7781, tracking 1Z999AA10123456784",
        "pi is 3.14159265358979323846 and e is 2.718281828459045",
        "[12, 45, 78, 101, 202, 303] 10 20 30 40 50 60 70 80 90",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, 550e8400-e29b-41d4-a716-446655440000",
        "192.168.1.1:8080 and 10.0.0.254, version 10.15.7.19042",
        "population 1 380 004 385, revenue 1.234.567.890 euros, 7,794,798,739 people",
        "unix time 1700000000, 1700000000123, id 76561198000000000",
        "score 21-17, 3-6, 7-6 and seasons 1998-99, 2001-2002",
        "int x = 123456789; y = 987654321; z = 2147483647; max 18446744073709551615",
        "the coordinates are 52.5200066, 13.4049540 and 48.8566 2.3522",
        "RGB 255 255 255, 0 128 64, 1920 1080, 3840 2160",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn long_lists_of_numbers_are_read_in_linear_time() {
    let numbers: Vec<String> = (0..200_000).map(|n| n.to_string()).collect();
    let numbers = numbers.join(" ");
    let mails = "a.b@c.de ".repeat(50_000);
    let digits = "7".repeat(1 << 20);
    let started = std::time::Instant::now();
    for text in [
        &numbers,
        &mails,
        &digits,
        &"-----BEGIN PRIVATE KEY-----".repeat(20_000),
    ] {
        let _ = crate::redact(text);
    }
    assert!(
        started.elapsed().as_secs_f64() < 60.0,
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn no_text_makes_it_panic() {
    // Characters of which identity numbers, keys and addresses are made, in any order.
    const SIGNS: &[char] = &[
        '0', '1', '2', '7', '9', 'A', 'B', 'K', 'X', 'Z', 'e', 'y', 'J', '.', '-', ' ', '@', ':',
        '/', '+', '(', ')', '=', '"', 'é', '证', '\u{200b}', '\n',
    ];
    let mut state = 1_u64;
    for length in (0..3_000).map(|n| n % 60) {
        let text: String = (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                SIGNS[(state >> 33) as usize % SIGNS.len()]
            })
            .collect();
        for text in [
            text.clone(),
            format!("{text}@{text}.com"),
            format!("password: {text} DNI {text}"),
        ] {
            let masked = crate::redact(&text);
            assert!(masked.len() >= text.len() / 8);
        }
    }
}
