use super::*;

fn values(text: &str) -> Vec<&str> {
    let found = Secrets::shipped().find(text);
    found
        .into_iter()
        .map(|secret| &text[secret.range])
        .collect()
}

#[test]
fn the_shipped_patterns_find_their_examples() {
    let set = PatternSet::parse(&FILE.replace('¦', "")).unwrap();
    assert_eq!(set.problems(), Vec::<String>::new());
    let kinds = ["token", "assigned", "password", "basic", "jwt", "pem"];
    for pattern in set.patterns() {
        assert!(kinds.contains(&pattern.kind.as_str()), "{}", pattern.id);
        for text in &pattern.positive {
            let found = Secrets::shipped().find(text);
            assert!(!found.is_empty(), "{}: no secret in {text:?}", pattern.id);
        }
        for text in &pattern.negative {
            assert_eq!(values(text), Vec::<&str>::new(), "{}", pattern.id);
        }
    }
}

#[test]
fn no_example_in_the_file_looks_like_a_secret_to_a_scanner() {
    let family = Secrets::shipped();
    // Passwords have no form that a scanner could know.
    let has_form = |kind: &str| ["token", "jwt", "pem"].contains(&kind);
    let whole = family.find(FILE).into_iter();
    let whole = whole.filter(|secret| has_form(&family.patterns()[secret.pattern].kind));
    let shown: Vec<&str> = whole.map(|secret| &FILE[secret.range]).collect();
    assert!(shown.is_empty(), "write `¦` into {shown:?}");
}

#[test]
fn placeholders_and_ordinary_code_are_no_secrets() {
    for text in [
        concat!("aws_access_key_id = AKIA", "IOSFODNN7EXAMPLE"),
        concat!("wJalrXUtnFEMI/K7MDENG/", "bPxRfiCYEXAMPLEKEY"),
        concat!("ghp", "_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        concat!("ghp", "_0123456789abcdefghijklmnopqrstuvwxyz"),
        "api_key = 'your_api_key_here'",
        "api_key: <your-key>",
        "API_KEY = os.environ['SERVICE_API_KEY_2']",
        "const token = request.headers.authorization.split(' ')[1]",
        "password = generate_password(8)",
        "password = 'myp@ssw0rd'",
        "postgres://user:password@localhost:5432/mydb",
        "mysql://root:secret@127.0.0.1/test",
        "postgresql://username:changeme1@db.example.com/app",
        "https://user:pass@example.com/",
        "mongodb://<username>:<password>@cluster0.mongodb.net/test",
        "redis://:${REDIS_PASSWORD}@cache:6379",
        "jdbc:mysql://127.0.0.1:3306/<database name>",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "id = 123e4567-e89b-12d3-a456-426614174000",
        "password_hash = '5f4dcc3b5aa765d61d8327deb882cf99'",
        "csrf_token: 8fK2mQ9xL4vR7pZ1nT6w",
        "Here is a randomly generated 10-character password: rT8$jLpZ2q",
        "enc_password = \"IH6noKXV7kU6S5BS6LTYMOSoIz15gyKx\"",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg...\n-----END PRIVATE KEY-----",
        "max_tokens=4096, next_token=None, tokenizer: bert-base-uncased-v2",
        "import sklearn as sk-learn; task_id = disk_usage",
        concat!(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
            "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.",
            "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
        ),
    ] {
        assert_eq!(values(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn only_the_value_is_the_secret() {
    let password = "PTzNA7Jt5B8hju";
    for text in [
        format!("postgres://admin:{password}@db1.internal.example.com:5432/prod"),
        format!("DB_PASSWORD={password}\n"),
        format!("Server=db;User Id=sa;Password={password};"),
        format!("curl -u deploy:{password} https://x.org"),
    ] {
        assert_eq!(values(&text), [password], "{text}");
    }
}

#[test]
fn a_checksum_that_holds_is_told() {
    let entropy = "q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe";
    let sum = base62_crc32(entropy).map(char::from);
    let token = format!("ghp_{entropy}{}", sum.iter().collect::<String>());
    let found = Secrets::shipped().find(&token);
    assert!(found[0].verified);
    assert_eq!((found[0].range.clone(), found[0].public), (0..40, 4));
    let typo = token.replace("q7L", "q8L");
    assert!(!Secrets::shipped().find(&typo)[0].verified);
}

#[test]
fn a_private_key_is_found_whole_also_in_json() {
    let line = "MIIEvQ7LwZ2rT9xKf4MvB8sYd3HnC6jPgAeR5tVqWx1uXo0iSbNzKhDyFcGlEpUm";
    for (newline, kind) in [("\n", "RSA "), ("\\n", ""), ("\n", "OPENSSH ")] {
        let text = format!(
            "x -----BEGIN {kind}PRIVATE KEY-----{newline}{line}{newline}{line}{newline}-----END {kind}PRIVATE KEY----- y"
        );
        let found = values(&text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(found[0].matches(line).count(), 2);
        // Cut off, as in an excerpt.
        assert_eq!(values(&text[..text.len() - 60]).len(), 1);
    }
}
