//! Every key takes what it should, refuses the rest, and shows no secret.

use std::collections::HashSet;
use std::time::Duration;

use super::*;

fn set(name: &str, value: SettingValue) -> Option<Settings> {
    let mut settings = Settings::default();
    SettingKey::find(name).unwrap_or_else(|| panic!("no key {name}")).set(&mut settings, &value).then_some(settings)
}

fn text(text: &str) -> SettingValue {
    SettingValue::Text(text.to_owned())
}

fn untyped(text: &str) -> SettingValue {
    SettingValue::Untyped(text.to_owned())
}

#[test]
fn keys_are_unique_and_the_defaults_are_the_documented_ones() {
    let names: HashSet<_> = SettingKey::ALL.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), SettingKey::ALL.len());
    let settings = Settings::default();
    for (name, default) in [
        ("server.host", Some("127.0.0.1")),
        ("server.port", Some("8080")),
        ("server.max_body_bytes", Some("16MiB")),
        ("server.max_connections", Some("20000")),
        ("server.cors_origins", Some("")),
        ("auth.jwt_secret", None),
        ("auth.localhost_bypass", Some("false")),
        ("auth.localhost_user", Some("system")),
        ("storage.durability", Some("sync")),
        ("storage.memory", Some("256MiB")),
        ("storage.deleted_retention", Some("7d")),
        ("storage.size_log_interval", Some("10m")),
        ("backup.dir", None),
        ("flush.default_interval", Some("5m")),
        ("flush.retry_backoff", Some("1s")),
        ("query.plan_cache_bytes", Some("64MiB")),
        ("query.max_waiting", Some("10000")),
        ("session.idle_timeout", Some("30m")),
        ("live.resume_retention", Some("1d")),
        ("stream.default_ttl", Some("10s")),
        ("jobs.retention", Some("30d")),
        ("logging.format", Some("text")),
    ] {
        let key = SettingKey::find(name).unwrap_or_else(|| panic!("no key {name}"));
        assert_eq!(key.show(&settings).as_deref(), default, "{name}");
    }
    assert_eq!(settings.check(), Ok(()));
}

#[test]
fn what_a_key_shows_can_be_set_again() {
    let settings = Settings::default();
    for key in SettingKey::ALL {
        if let Some(shown) = key.show(&settings) {
            let mut again = Settings::default();
            assert!(key.set(&mut again, &SettingValue::Untyped(shown.clone())), "{} = {shown}", key.name);
            assert_eq!(again, settings, "{}", key.name);
        }
        assert!(!key.set(&mut Settings::default(), &SettingValue::Other), "{}", key.name);
        assert!(!key.set(&mut Settings::default(), &SettingValue::Integer(-1)), "{}", key.name);
        assert!(!key.allowed.is_empty());
    }
}

#[test]
fn typed_sources_are_held_to_their_types() {
    assert_eq!(set("server.port", SettingValue::Integer(9000)).map(|s| s.server.port), Some(9000));
    assert_eq!(set("server.port", untyped("9000")).map(|s| s.server.port), Some(9000));
    for value in
        [text("9000"), SettingValue::Integer(65_536), untyped("many"), untyped(""), untyped("+1"), untyped("9000.0")]
    {
        assert_eq!(set("server.port", value.clone()), None, "{value:?}");
    }
    assert!(set("auth.localhost_bypass", text("true")).is_none());
    assert!(set("auth.localhost_bypass", untyped("yes")).is_none());
    assert!(set("auth.localhost_bypass", untyped("true")).is_some_and(|s| s.auth.localhost_bypass));
    assert!(set("server.request_timeout", SettingValue::Integer(30)).is_none(), "a number has no unit");
    assert_eq!(
        set("server.request_timeout", text("250ms")).map(|s| s.server.request_timeout),
        Some(Duration::from_millis(250))
    );
    for value in ["0s", "soon", "-1s", "99999999d"] {
        assert!(set("server.request_timeout", text(value)).is_none(), "{value}");
    }
    assert_eq!(set("storage.memory", SettingValue::Integer(1 << 30)).map(|s| s.storage.memory), Some(1 << 30));
    assert_eq!(set("storage.memory", text("1GiB")).map(|s| s.storage.memory), Some(1 << 30));
    assert!(set("storage.memory", text("1GB")).is_none());
    assert!(set("storage.backend", text("sled")).is_none());
    assert!(set("server.host", untyped("")).is_none());
    assert_eq!(set("server.host", untyped("[::1]")).map(|s| s.server.host).as_deref(), Some("::1"));
    assert!(set("auth.localhost_user", text("a\nb")).is_none());
}

#[test]
fn origins_are_written_out() {
    let list = |origins: &[&str]| SettingValue::List(origins.iter().map(|&origin| origin.to_owned()).collect());
    let set = |value| set("server.cors_origins", value).map(|settings| settings.server.cors_origins);
    assert_eq!(
        set(list(&["https://App.example.com", "http://localhost:3000"])).map(|o| o.join(" ")).as_deref(),
        Some("https://app.example.com http://localhost:3000")
    );
    assert_eq!(set(untyped("https://a.example, https://b.example")).map(|origins| origins.len()), Some(2));
    assert_eq!(set(untyped("")), Some(vec![]));
    for bad in ["*", "https://*", "example.com", "https://a.example/", "https://a.example/path", "https://", "null"] {
        assert_eq!(set(list(&[bad])), None, "{bad}");
    }
    assert_eq!(set(text("https://a.example")), None);
}

#[test]
fn templates_stay_below_their_location() {
    for good in ["{storageLocation}/{shard}/{userId}/{tableName}/", "{storageLocation}/{userId}"] {
        assert!(set("storage.user_path_template", text(good)).is_some(), "{good}");
    }
    for bad in [
        "{storageLocation}/{namespace}/",
        "/elsewhere/{userId}/",
        "{storageLocation}/../{userId}",
        "{storageLocation}/{user}/{userId}",
        "{storageLocation}/{userId",
        "{storageLocation}/}{userId}",
    ] {
        assert!(set("storage.user_path_template", text(bad)).is_none(), "{bad}");
    }
    assert!(set("storage.shared_path_template", text("{storageLocation}/{userId}/")).is_none());
}

#[test]
fn a_secret_is_long_and_never_shown() {
    let secret = "0123456789abcdef0123456789abcdef";
    assert!(set("auth.jwt_secret", text(&secret[1..])).is_none());
    let settings = set("auth.jwt_secret", untyped(secret)).expect("32 bytes suffice");
    assert_eq!(settings.auth.jwt_secret.as_ref().map(Secret::expose), Some(secret.as_bytes()));
    assert!(!format!("{settings:?}").contains(secret));
    let key = SettingKey::find("auth.jwt_secret").expect("a key");
    assert!(key.is_secret);
    assert_eq!(key.show(&settings).as_deref(), Some("***"));
}

#[test]
fn a_server_beyond_loopback_needs_exactly_one_key() {
    let mut settings = Settings::default();
    for host in ["0.0.0.0", "::", "192.168.0.7", "db.example.com", "localhost.example.com"] {
        settings.server.host = host.to_owned();
        assert_eq!(settings.check().map_err(|violation| violation.keys[0]), Err("server.host"), "{host}");
    }
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"] {
        settings.server.host = host.to_owned();
        assert_eq!(settings.check(), Ok(()), "{host}");
    }
    settings.server.host = "0.0.0.0".to_owned();
    settings.auth.jwt_public_key_file = Some("key.pem".into());
    assert_eq!(settings.check(), Ok(()));
    settings.auth.jwt_secret = Secret::new("0123456789abcdef0123456789abcdef");
    let violation = settings.check().expect_err("two keys");
    assert_eq!(violation.keys[0], "auth.jwt_public_key_file");
    assert!(!violation.message.contains("0123456789"));
}
