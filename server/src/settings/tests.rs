//! Which source wins, and that an error names key, source and what is allowed, in one line.

use std::time::Duration;

use tempfile::TempDir;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Loads with a file of this text (none if empty) and these variables.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<LoadedSettings, String> {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("settings.toml");
    if !text.is_empty() {
        std::fs::write(&path, text).expect("a writable file");
    }
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_from(None, &path, variables).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)], parts: &[&str]) {
    let error = load_text(text, variables).expect_err("these settings cannot be");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(!error.contains(SECRET), "{error:?}");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[server]\nport = 9000\nrequest_timeout = \"5s\"\ncors_origins = [\"https://a.example\"]\n";
    let loaded = load_text(text, &[("KALAMDB__SERVER__PORT", "9001"), ("KALAMDB_TEST_URL", "x"), ("PATH", "/")]);
    let loaded = loaded.expect("valid");
    assert_eq!(loaded.settings.server.port, 9001);
    assert_eq!(loaded.settings.server.request_timeout, Duration::from_secs(5));
    assert_eq!(loaded.settings.server.cors_origins, ["https://a.example"]);
    assert_eq!(loaded.settings.server.host, "127.0.0.1");
    assert_eq!(loaded.variables, ["KALAMDB__SERVER__PORT"]);
    assert!(loaded.sources().contains("settings.toml, environment KALAMDB__SERVER__PORT"), "{}", loaded.sources());
    let defaults = load_text("", &[]).expect("nothing is needed");
    assert_eq!(defaults.file, None);
    assert_eq!(defaults.settings, machine_defaults());
}

#[test]
fn a_wrong_value_names_key_source_and_what_is_allowed() {
    refused("[server]\nport = \"9000\"\n", &[], &["server.port", "settings.toml", "a whole number from 0 to 65535"]);
    refused("[server]\nport = 9000.5\n", &[], &["server.port", "settings.toml"]);
    refused("", &[("KALAMDB__SERVER__PORT", "many")], &["server.port", "variable KALAMDB__SERVER__PORT", "\"many\""]);
    refused("[query]\nreport_timing = \"yes\"\n", &[], &["query.report_timing", "true or false"]);
    refused("[storage]\ndurability = \"perhaps\"\n", &[], &["storage.durability", "\"sync\" or \"buffered\""]);
    refused("[storage]\nbackend = \"sled\"\n", &[], &["storage.backend", "rocksdb"]);
    refused("", &[("KALAMDB__SERVER__REQUEST_TIMEOUT", "a\nb")], &["server.request_timeout", "10s"]);
}

#[test]
fn unknown_keys_and_sections_are_refused() {
    refused("[server]\ncolour = 1\n", &[], &["server.colour", "settings.toml", "host, port"]);
    refused("[serve]\nport = 1\n", &[], &["serve.port", "settings.toml", "server, auth, storage"]);
    refused("port = 1\n", &[], &["port (from file", "no such section"]);
    refused("[server.port]\nx = 1\n", &[], &["server.port", "settings.toml"]);
    refused("server = 1\n", &[], &["server (from file"]);
    refused("", &[("KALAMDB__SERVER__COLOUR", "red")], &["server.colour", "KALAMDB__SERVER__COLOUR"]);
    refused("", &[("KALAMDB__PORT", "1")], &["port", "KALAMDB__PORT"]);
    refused("", &[("KALAMDB__SERVER__PORT__X", "1")], &["server.port.x", "KALAMDB__SERVER__PORT__X"]);
    refused("[server]\nport = 1\n", &[("KALAMDB__SERVER", "1")], &["server", "KALAMDB__SERVER"]);
}

#[test]
fn a_file_that_is_no_toml_is_refused_without_repeating_it() {
    refused(&format!("[auth]\njwt_secret = {SECRET}\n"), &[], &["settings.toml", "line 2"]);
    refused("[server]\nport = 1\nport = 2\n", &[], &["settings.toml", "line 3", "duplicate"]);
    let missing = load_from(Some(Path::new("/nowhere/x.toml")), Path::new("unused"), []).expect_err("not there");
    assert!(missing.to_string().contains("/nowhere/x.toml"), "{missing}");
}

#[test]
fn keys_for_tokens_follow_the_two_rules() {
    refused("[auth]\njwt_secret = \"short\"\n", &[], &["auth.jwt_secret", "settings.toml", "at least 32 bytes"]);
    refused("", &[("KALAMDB__AUTH__JWT_SECRET", "")], &["auth.jwt_secret", "KALAMDB__AUTH__JWT_SECRET", "32 bytes"]);
    let short = load_text("[auth]\njwt_secret = \"hunter2\"\n", &[]).expect_err("too short");
    assert!(!short.contains("hunter2"), "{short}");
    refused(
        "[auth]\njwt_public_key_file = \"key.pem\"\n",
        &[("KALAMDB__AUTH__JWT_SECRET", SECRET)],
        &["auth.jwt_secret", "KALAMDB__AUTH__JWT_SECRET", "auth.jwt_public_key_file", "settings.toml", "not both"],
    );
    refused("[server]\nhost = \"0.0.0.0\"\n", &[], &["server.host", "settings.toml", "auth.jwt_secret"]);
    refused(
        "[auth]\nlocalhost_bypass = true\n",
        &[("KALAMDB__SERVER__HOST", "::")],
        &["server.host", "KALAMDB__SERVER__HOST"],
    );
    let loaded = load_text("[server]\nhost = \"0.0.0.0\"\n", &[("KALAMDB__AUTH__JWT_SECRET", SECRET)]).expect("a key");
    assert!(!format!("{loaded:?}").contains(SECRET));
    assert!(!loaded.sources().contains(SECRET));
    refused(
        "[auth]\njwt_public_key_file = \"/nowhere/key.pem\"\n",
        &[],
        &["auth.jwt_public_key_file", "settings.toml", "/nowhere/key.pem"],
    );
}

#[test]
fn the_shipped_file_is_valid_and_lets_localhost_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../settings.toml");
    let loaded = load_from(Some(&path), Path::new("unused"), []).expect("the shipped settings are valid");
    assert!(loaded.settings.auth.localhost_bypass);
    let mut expected = machine_defaults();
    expected.auth.localhost_bypass = true;
    expected.storage.rocksdb_dir = "./data/rocksdb".into();
    expected.query.memory_limit = loaded.settings.query.memory_limit;
    assert_eq!(loaded.settings, expected, "a value in the shipped file that is not the default");
}
