use super::*;

fn values<'a>(
    namespace: &'a NamespaceId,
    table: &'a TableName,
    user: Option<&'a UserId>,
    shard: &'a str,
) -> PathValues<'a> {
    PathValues { namespace, table, user, shard }
}

fn render(template: &str, user: Option<&str>, shard: &str) -> String {
    let table_type = if user.is_some() { TableType::User } else { TableType::Shared };
    let template = PathTemplate::parse(template, table_type).expect(template);
    let (namespace, table) = (NamespaceId::new("chat").expect("name"), TableName::new("messages").expect("name"));
    let user = user.map(|user| UserId::new(user).expect("user"));
    template.render(&values(&namespace, &table, user.as_ref(), shard)).expect("rendered")
}

#[test]
fn templates_are_rendered_below_their_location() {
    let default = "{storageLocation}/{namespace}/users/{userId}/{tableName}/";
    assert_eq!(render(default, Some("ann"), ""), "chat/users/ann/messages");
    assert_eq!(render(default, Some("../../etc"), ""), "chat/users/..%2F..%2Fetc/messages");
    assert_eq!(render(default, Some(".."), ""), "chat/users/%2E%2E/messages");
    assert_eq!(render(default, Some("日本"), ""), "chat/users/%E6%97%A5%E6%9C%AC/messages");
    assert_eq!(render("{storageLocation}/{shard}/{userId}", Some("ann"), "a"), "a/ann");
    assert_eq!(
        render("{storageLocation}/{shard}/x//{tableName}", None, ""),
        "x/messages",
        "an empty shard leaves no trace"
    );
    assert_eq!(render("{storageLocation}/", None, ""), "");
    assert_eq!(render("{storageLocation}/.{userId}", Some("."), ""), ".%2E");
}

#[test]
fn what_a_template_cannot_be_is_said() {
    for (template, expected) in [
        ("", "{userId}"),
        ("{storageLocation}/{tableName}", "{userId}"),
        ("{storageLocation}/{userId}/{color}", "{color} is none of"),
        ("{storageLocation}/../{userId}", "stays below"),
        ("{storageLocation}/./{userId}", "stays below"),
        ("{storageLocation}/..{shard}/{userId}", "stays below"),
        ("{storageLocation}/.{shard}./{userId}", "stays below"),
        ("/etc/{userId}", "begins with {storageLocation}/"),
        ("{userId}", "begins with {storageLocation}/"),
        ("{storageLocation}{userId}", "at the beginning"),
        ("{storageLocation}/{userId", "pairs"),
        ("{storageLocation}/}{userId}{", "pairs"),
        ("{storageLocation}/{user/Id}", "pairs"),
        ("{storageLocation}/{{userId}}", "pairs"),
        ("{storageLocation}/{userId}/{storageLocation}", "at the beginning"),
        ("{storageLocation}/a\\b/{userId}", "backslash"),
        ("{storageLocation}/a\0b/{userId}", "control"),
        ("{storageLocation}/{shard}{userId}", "between them"),
        ("{storageLocation}/{userId}_{tableName}", "between them"),
        (&format!("{{storageLocation}}/{{userId}}{}", "/x".repeat(20)), "directories"),
        (&format!("{{storageLocation}}/{{userId}}{}", "/x".repeat(600)), "bytes"),
    ] {
        let error = PathTemplate::parse(template, TableType::User).expect_err(template);
        assert_eq!(error.code, ErrorCode::InvalidOption);
        assert!(error.message.contains(expected), "{template}: {}", error.message);
    }
    let error = PathTemplate::parse("{storageLocation}/{userId}", TableType::Shared).expect_err("shared");
    assert!(error.message.contains("shared"), "{}", error.message);
}

#[test]
fn long_names_are_cut_and_stay_apart() {
    let template = "{storageLocation}/{userId}-{userId}/{tableName}";
    let (one, other) = (render(template, Some(&"é".repeat(128)), ""), render(template, Some(&"è".repeat(128)), ""));
    assert_ne!(one, other);
    for path in [one, other] {
        assert!(path.split('/').all(|part| part.len() <= MAX_COMPONENT_BYTES), "{path}");
    }
    let literal = format!("{{storageLocation}}/{{userId}}{}", "é".repeat(200));
    assert!(render(&literal, Some("ann"), "").len() <= MAX_COMPONENT_BYTES);
}

#[test]
fn two_users_never_share_a_directory() {
    let users =
        ["a", "b", "ab", "a-b", "a-", "-a", "a.b", ".", "..", "a/b", "a%2Fb", "A", "1", "11", "1-1", "é", "%", "~"];
    let templates = [
        "{storageLocation}/{userId}",
        "{storageLocation}/{shard}-{userId}",
        "{storageLocation}/{userId}-{shard}",
        "{storageLocation}/{userId}-{shard}-{userId}",
        "{storageLocation}/{userId}{userId}",
        "{storageLocation}/x{userId}x/{shard}",
    ];
    for template in templates {
        let mut seen = std::collections::HashMap::new();
        for user in users {
            for shard in ["", "1", "11", "a"] {
                let directory = render(template, Some(user), shard);
                let owner = *seen.entry(directory.clone()).or_insert(user);
                assert_eq!(owner, user, "{template}: {directory}");
                assert!(directory.split('/').all(|part| !matches!(part, "" | "." | "..")), "{directory}");
            }
        }
    }
}
