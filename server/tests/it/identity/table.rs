//! The table itself.

use jsonwebtoken::Algorithm::{ES256, EdDSA, HS384, HS512, PS256, RS256, RS384};
use serde_json::json;

use super::Answer::{Is, Refused};
use super::At::{Ec, Ed, Keyless, Local, Named, Rsa, Strict};
use super::tokens::{
    changed, hs, hs_as, hs_by, hs_by_public, part, raw, signed, signed_text, with_claims, with_header,
};
use super::{AUDIENCE, Case, ISSUER};
use crate::harness::now;

type OneHeader = (&'static str, Option<Vec<u8>>);

fn header(name: &'static str, value: impl AsRef<[u8]>) -> OneHeader {
    (name, Some(value.as_ref().to_vec()))
}

/// The Authorization header as it is given.
fn auth(value: impl AsRef<[u8]>) -> OneHeader {
    header("authorization", value)
}

fn bearer(token: impl AsRef<str>) -> OneHeader {
    auth(format!("Bearer {}", token.as_ref()))
}

fn host(value: &str) -> OneHeader {
    header("host", value)
}

fn no_host() -> OneHeader {
    ("host", None)
}

fn origin(value: &str) -> OneHeader {
    header("origin", value)
}

macro_rules! table {
    ($($name:literal, $at:ident, [$($header:expr),*] => $answer:expr;)*) => {
        vec![$(Case { name: $name, at: $at, headers: vec![$($header),*], answer: $answer }),*]
    };
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = roles();
    cases.extend(forms());
    cases.extend(times());
    cases.extend(users());
    cases.extend(issuers());
    cases.extend(public_keys());
    cases.extend(headers());
    cases.extend(localhost());
    cases.extend(rows());
    cases
}

#[rustfmt::skip]
fn roles() -> Vec<Case> {
    let role = |role| bearer(hs(json!({"role": role})));
    table! {
        "role user",               Strict, [role(json!("user"))]     => Is("ann", "user");
        "role service",            Strict, [role(json!("service"))]  => Is("ann", "service");
        "role dba",                Strict, [role(json!("dba"))]      => Is("ann", "dba");
        "no role",                 Strict, [bearer(hs(json!({})))]   => Is("ann", "user");
        "an unknown role",         Strict, [role(json!("root"))]     => Refused("role claim is an unknown role: expected user, service or dba");
        "role system",             Strict, [role(json!("system"))]   => Refused("role claim is an unknown role");
        "role in capitals",        Strict, [role(json!("DBA"))]      => Refused("role claim is an unknown role");
        "an empty role",           Strict, [role(json!(""))]         => Refused("role claim is an unknown role");
        "a role with a blank",     Strict, [role(json!("dba "))]     => Refused("role claim is an unknown role");
        "role null",               Strict, [role(json!({"is": 0}))]  => Refused("role claim is not a string");
        "role a number",           Strict, [role(json!(3))]          => Refused("role claim is not a string");
        "role a list",             Strict, [role(json!(["dba"]))]    => Refused("role claim is not a string");
        "claims nobody asks for",  Strict, [bearer(hs(json!({"sub": 1, "aud": "x", "iss": [], "admin": true})))] => Is("ann", "user");
    }
}

#[rustfmt::skip]
fn forms() -> Vec<Case> {
    let dba = hs(json!({"role": "dba"}));
    let flip = |text: &mut String| { let first = if text.starts_with('A') { "B" } else { "A" }; text.replace_range(..1, first); };
    table! {
        "alg none, unsigned",       Strict, [bearer(with_header(r#"{"alg":"none"}"#).rsplit_once('.').map_or(String::new(), |(signed, _)| format!("{signed}.")))] => Refused("not signed with HS256");
        "alg none, signed",         Strict, [bearer(with_header(r#"{"alg":"none"}"#))]  => Refused("not signed with HS256");
        "alg nOnE",                 Strict, [bearer(with_header(r#"{"alg":"nOnE"}"#))]  => Refused("not signed with HS256");
        "alg hs256",                Strict, [bearer(with_header(r#"{"alg":"hs256"}"#))] => Refused("not signed with HS256");
        "alg a number",             Strict, [bearer(with_header(r#"{"alg":256}"#))]     => Refused("not signed with HS256");
        "HS384 of the same secret", Strict, [bearer(hs_as(HS384))]                      => Refused("not signed with HS256");
        "HS512 of the same secret", Strict, [bearer(hs_as(HS512))]                      => Refused("not signed with HS256");
        "RS256 where HS256 is due", Strict, [bearer(signed(RS256, "rsa_private.pem", json!({})))] => Refused("not signed with HS256");
        "no alg",                   Strict, [bearer(with_header(r#"{"typ":"JWT"}"#))]   => Refused("names no algorithm");
        "a key id",                 Strict, [bearer(with_header(r#"{"alg":"HS256","kid":"7","typ":"at+jwt"}"#))] => Is("ann", "user");
        "a key id that is none",    Strict, [bearer(with_header(r#"{"alg":"HS256","kid":{}}"#))] => Is("ann", "user");
        "critical parameters",      Strict, [bearer(with_header(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#))] => Refused("critical parameters");
        "a header that is a list",  Strict, [bearer(with_header("[]"))]                 => Refused("header is not a JSON object");
        "a header that is text",    Strict, [bearer(with_header("HS256"))]              => Refused("header is not a JSON object");
        "a header not base64url",   Strict, [bearer(changed(|parts| parts[0].push('+')))] => Refused("header is not base64url");
        "claims that are a list",   Strict, [bearer(with_claims("[1]"))]                => Refused("claims are not a JSON object");
        "claims that are text",     Strict, [bearer(with_claims("ann"))]                => Refused("claims are not a JSON object");
        "claims cut off",           Strict, [bearer(with_claims(r#"{"user_id":"ann","exp":EXP"#))] => Refused("claims are not a JSON object");
        "no claims",                Strict, [bearer(with_claims(""))]                   => Refused("claims are not a JSON object");
        "claims not base64url",     Strict, [bearer(signed_text("eyJhbGciOiJIUzI1NiJ9.e{}="))] => Refused("claims are not base64url");
        "empty claims",             Strict, [bearer(with_claims("{}"))]                 => Refused("no exp claim");
        "another secret",           Strict, [bearer(hs_by(b"another secret, also longer than 32 bytes"))] => Refused("signature is not valid");
        "an empty secret",          Strict, [bearer(hs_by(b""))]                        => Refused("signature is not valid");
        "no signature",             Strict, [bearer(changed(|parts| parts[2].clear()))] => Refused("signature is not valid");
        "a signature cut off",      Strict, [bearer(changed(|parts| parts[2].truncate(40)))] => Refused("signature is not valid");
        "a signature with a flip",  Strict, [bearer(changed(|parts| flip(&mut parts[2])))]   => Refused("signature is not valid");
        "another's signature",      Strict, [bearer(changed(|parts| parts[2] = part(&dba, 2)))] => Refused("signature is not valid");
        "another's claims",         Strict, [bearer(changed(|parts| parts[1] = part(&dba, 1)))] => Refused("signature is not valid");
        "claims with a flip",       Strict, [bearer(changed(|parts| flip(&mut parts[1])))]   => Refused("signature is not valid");
        "a padded signature",       Strict, [bearer(changed(|parts| parts[2].push('=')))]    => Refused("signature is not base64url");
        "a signature of dirt",      Strict, [bearer(changed(|parts| parts[2] = "%%%".into()))] => Refused("signature is not base64url");
        "two parts",                Strict, [bearer(changed(|parts| parts.truncate(2)))]     => Refused("not three parts");
        "four parts",               Strict, [bearer(changed(|parts| parts.push("x".into())))] => Refused("not three parts");
        "five parts, like a JWE",   Strict, [bearer(changed(|parts| parts.extend(["x".into(), "x".into()])))] => Refused("not three parts");
        "one part",                 Strict, [bearer("rubbish")]                              => Refused("not three parts");
        "dots alone",               Strict, [bearer("..")]                                   => Refused("header is not a JSON object");
        "the word null",            Strict, [bearer("null")]                                 => Refused("not three parts");
        "a long one of dirt",       Strict, [bearer("x".repeat(20_000))]                     => Refused("not three parts");
    }
}

#[rustfmt::skip]
fn times() -> Vec<Case> {
    let exp = |exp| bearer(hs(json!({"exp": exp})));
    let nbf = |nbf| bearer(hs(json!({"nbf": nbf})));
    let soon = now() as f64 + 600.5;
    table! {
        "no exp",               Strict, [bearer(hs(json!({"exp": null})))] => Refused("no exp claim");
        "exp null",             Strict, [exp(json!({"is": 0}))]      => Refused("exp claim is not a number of seconds");
        "exp a text",           Strict, [exp(json!("tomorrow"))]     => Refused("exp claim is not a number of seconds");
        "exp a number in text", Strict, [exp(json!("4102444800"))]   => Refused("exp claim is not a number of seconds");
        "exp true",             Strict, [exp(json!(true))]           => Refused("exp claim is not a number of seconds");
        "exp a list",           Strict, [exp(json!([4102444800u64]))] => Refused("exp claim is not a number of seconds");
        "exp beyond floats",    Strict, [bearer(with_claims(r#"{"user_id":"ann","exp":1e400}"#))] => Refused("exp claim is not a number of seconds");
        "exp now",              Strict, [exp(json!(now()))]          => Refused("has expired");
        "exp a second ago",     Strict, [exp(json!(now() - 1))]      => Refused("has expired");
        "exp half a second ago", Strict, [exp(json!(now() as f64 - 0.5))] => Refused("has expired");
        "exp 0",                Strict, [exp(json!(0))]              => Refused("has expired");
        "exp negative",         Strict, [exp(json!(-1))]             => Refused("has expired");
        "exp very negative",    Strict, [exp(json!(-1e300))]         => Refused("has expired");
        "exp with a fraction",  Strict, [exp(json!(soon))]           => Is("ann", "user");
        "exp as 4.1e9",         Strict, [bearer(with_claims(r#"{"user_id":"ann","exp":4.1e9}"#))] => Is("ann", "user");
        "exp huge",             Strict, [exp(json!(u64::MAX))]       => Is("ann", "user");
        "exp huger",            Strict, [exp(json!(1e300))]          => Is("ann", "user");
        "nbf to come",          Strict, [nbf(json!(now() + 600))]     => Refused("not valid yet (nbf)");
        "nbf huge",             Strict, [nbf(json!(1e300))]          => Refused("not valid yet (nbf)");
        "nbf a text",           Strict, [nbf(json!("now"))]          => Refused("nbf claim is not a number of seconds");
        "nbf null",             Strict, [nbf(json!({"is": 0}))]      => Refused("nbf claim is not a number of seconds");
        "nbf now",              Strict, [nbf(json!(now()))]          => Is("ann", "user");
        "nbf negative",         Strict, [nbf(json!(-1.5))]           => Is("ann", "user");
        "nbf after exp",        Strict, [bearer(hs(json!({"nbf": now() + 900})))] => Refused("not valid yet (nbf)");
        "expired, nbf to come", Strict, [bearer(hs(json!({"exp": now() - 9, "nbf": now() + 9})))] => Refused("has expired");
        "issued tomorrow",      Strict, [bearer(hs(json!({"iat": now() + 86_400})))] => Is("ann", "user");
    }
}

#[rustfmt::skip]
fn users() -> Vec<Case> {
    let user = |user| bearer(hs(json!({"user_id": user})));
    let longest: &'static str = Box::leak("ж".repeat(128).into_boxed_str());
    table! {
        "no user_id",          Strict, [user(json!(null))]         => Refused("no user_id claim");
        "sub alone",           Strict, [bearer(hs(json!({"user_id": null, "sub": "ann"})))] => Refused("no user_id claim");
        "user_id null",        Strict, [user(json!({"is": 0}))]    => Refused("user_id claim is not a string");
        "user_id a number",    Strict, [user(json!(7))]            => Refused("user_id claim is not a string");
        "user_id a list",      Strict, [user(json!(["ann"]))]      => Refused("user_id claim is not a string");
        "user_id an object",   Strict, [user(json!({"id": "ann"}))] => Refused("user_id claim is not a string");
        "user_id empty",       Strict, [user(json!(""))]           => Refused("user_id claim: a user id has 1 to 128 characters");
        "129 characters",      Strict, [user(json!("x".repeat(129)))] => Refused("128 characters, this one has 129");
        "a NUL",               Strict, [user(json!("a\0b"))]       => Refused("control characters");
        "a line feed",         Strict, [user(json!("a\nb"))]       => Refused("control characters");
        "a DEL",               Strict, [user(json!("a\u{7f}"))]    => Refused("control characters");
        "a C1 control",        Strict, [user(json!("a\u{85}"))]    => Refused("control characters");
        "a line separator",    Strict, [user(json!("a\u{2028}"))]  => Refused("control characters");
        "half a surrogate",    Strict, [bearer(with_claims(r#"{"user_id":"\ud800","exp":EXP}"#))] => Refused("claims are not a JSON object");
        "128 characters",      Strict, [user(json!(longest))]      => Is(longest, "user");
        "letters of all kinds", Strict, [user(json!("日本 жанна 😀"))] => Is("日本 жанна 😀", "user");
        "a path",              Strict, [user(json!("../../etc"))]  => Is("../../etc", "user");
        "a quote",             Strict, [user(json!("o'b\"; --"))]  => Is("o'b\"; --", "user");
        "a capital",           Strict, [user(json!("Ann"))]        => Is("Ann", "user");
        "escapes in JSON",     Strict, [bearer(with_claims(r#"{"user_id":"\u0061nn","exp":EXP}"#))] => Is("ann", "user");
        "the last of two",     Strict, [bearer(with_claims(r#"{"user_id":"bob","user_id":"ann","exp":EXP}"#))] => Is("ann", "user");
    }
}

#[rustfmt::skip]
fn issuers() -> Vec<Case> {
    let both = |iss, aud| bearer(hs(json!({"iss": iss, "aud": aud})));
    let (iss, aud) = (json!(ISSUER), json!(AUDIENCE));
    table! {
        "issuer and audience",     Named, [both(iss.clone(), aud.clone())] => Is("ann", "user");
        "one audience of several", Named, [both(iss.clone(), json!(["other", AUDIENCE]))] => Is("ann", "user");
        "a wrong issuer",          Named, [both(json!("https://evil.example"), aud.clone())] => Refused("iss claim is not the issuer");
        "an issuer with a slash",  Named, [both(json!(format!("{ISSUER}/")), aud.clone())] => Refused("iss claim is not the issuer");
        "no issuer",               Named, [both(json!(null), aud.clone())]         => Refused("iss claim is not the issuer");
        "a list of issuers",       Named, [both(json!([ISSUER]), aud.clone())]     => Refused("iss claim is not the issuer");
        "a wrong audience",        Named, [both(iss.clone(), json!("other"))]      => Refused("aud claim does not name the audience");
        "an audience in capitals", Named, [both(iss.clone(), json!("KALAMDB"))]    => Refused("aud claim does not name the audience");
        "no audience",             Named, [both(iss.clone(), json!(null))]         => Refused("aud claim does not name the audience");
        "an empty list",           Named, [both(iss.clone(), json!([]))]           => Refused("aud claim does not name the audience");
        "other audiences",         Named, [both(iss.clone(), json!(["a", "b", 7]))] => Refused("aud claim does not name the audience");
        "audiences in lists",      Named, [both(iss.clone(), json!([[AUDIENCE]]))] => Refused("aud claim does not name the audience");
        "a number for audience",   Named, [both(iss, json!(7))]                    => Refused("aud claim does not name the audience");
    }
}

#[rustfmt::skip]
fn public_keys() -> Vec<Case> {
    let rs = || signed(RS256, "rsa_private.pem", json!({"role": "dba"}));
    let es = || signed(ES256, "ec_private.pem", json!({"role": "dba"}));
    let ed = || signed(EdDSA, "ed_private.pem", json!({"role": "dba"}));
    let unsigned = |token: String| { let (signed, _) = token.rsplit_once('.').expect("three parts"); format!("{signed}.") };
    let none = || raw(r#"{"alg":"none"}"#, "{}");
    table! {
        "RS256",                      Rsa, [bearer(rs())]  => Is("ann", "dba");
        "ES256",                      Ec,  [bearer(es())]  => Is("ann", "dba");
        "EdDSA",                      Ed,  [bearer(ed())]  => Is("ann", "dba");
        "HS256 by the RSA key",       Rsa, [bearer(hs_by_public("rsa_public.pem"))] => Refused("not signed with RS256");
        "HS256 by the P-256 key",     Ec,  [bearer(hs_by_public("ec_public.pem"))]  => Refused("not signed with ES256");
        "HS256 by the Ed25519 key",   Ed,  [bearer(hs_by_public("ed_public.pem"))]  => Refused("not signed with EdDSA");
        "RS384 by the same key",      Rsa, [bearer(signed(RS384, "rsa_private.pem", json!({})))] => Refused("not signed with RS256");
        "PS256 by the same key",      Rsa, [bearer(signed(PS256, "rsa_private.pem", json!({})))] => Refused("not signed with RS256");
        "ES256 where RS256 is due",   Rsa, [bearer(es())]  => Refused("not signed with RS256");
        "EdDSA where ES256 is due",   Ec,  [bearer(ed())]  => Refused("not signed with ES256");
        "RS256 where EdDSA is due",   Ed,  [bearer(rs())]  => Refused("not signed with EdDSA");
        "none where RS256 is due",    Rsa, [bearer(none())] => Refused("not signed with RS256");
        "none where ES256 is due",    Ec,  [bearer(none())] => Refused("not signed with ES256");
        "none where EdDSA is due",    Ed,  [bearer(none())] => Refused("not signed with EdDSA");
        "RS256 without a signature",  Rsa, [bearer(unsigned(rs()))] => Refused("signature is not valid");
        "ES256 without a signature",  Ec,  [bearer(unsigned(es()))] => Refused("signature is not valid");
        "EdDSA without a signature",  Ed,  [bearer(unsigned(ed()))] => Refused("signature is not valid");
        "ES256, a signature of 0s",   Ec,  [bearer(format!("{}{}", unsigned(es()), "A".repeat(86)))] => Refused("signature is not valid");
        "EdDSA, a signature of 0s",   Ed,  [bearer(format!("{}{}", unsigned(ed()), "A".repeat(86)))] => Refused("signature is not valid");
        "RS256, expired",             Rsa, [bearer(signed(RS256, "rsa_private.pem", json!({"exp": now()})))] => Refused("has expired");
        "ES256, an unknown role",     Ec,  [bearer(signed(ES256, "ec_private.pem", json!({"role": "root"})))] => Refused("unknown role");
        "EdDSA, nobody's",            Ed,  [bearer(signed(EdDSA, "ed_private.pem", json!({"user_id": null})))] => Refused("no user_id claim");
    }
}

#[rustfmt::skip]
fn headers() -> Vec<Case> {
    let good = || hs(json!({}));
    table! {
        "bearer in small letters", Strict, [auth(format!("bearer {}", good()))]    => Is("ann", "user");
        "BEARER",                  Strict, [auth(format!("BEARER {}", good()))]    => Is("ann", "user");
        "blanks around the token", Strict, [auth(format!("Bearer   {}  ", good()))] => Is("ann", "user");
        "no header",               Strict, []                                      => Refused("a token is required");
        "an empty header",         Strict, [auth("")]                              => Refused("Authorization header is empty");
        "blanks alone",            Strict, [auth("   ")]                           => Refused("Authorization header is empty");
        "Bearer alone",            Strict, [auth("Bearer")]                        => Refused("no token after Bearer");
        "Bearer and a blank",      Strict, [auth("Bearer ")]                       => Refused("no token after Bearer");
        "the token alone",         Strict, [auth(good())]                          => Refused("not of the form Bearer and a token");
        "Basic",                   Strict, [auth("Basic YW5uOnNlY3JldA==")]        => Refused("not of the form Bearer and a token");
        "Basic with a token",      Strict, [auth(format!("Basic {}", good()))]     => Refused("not of the form Bearer and a token");
        "Token with a token",      Strict, [auth(format!("Token {}", good()))]     => Refused("not of the form Bearer and a token");
        "a colon",                 Strict, [auth(format!("Bearer: {}", good()))]   => Refused("not of the form Bearer and a token");
        "a tab",                   Strict, [auth(format!("Bearer\t{}", good()))]   => Refused("not of the form Bearer and a token");
        "two tokens",              Strict, [auth(format!("Bearer {} {}", good(), good()))] => Refused("something after the token");
        "Bearer twice",            Strict, [auth(format!("Bearer Bearer {}", good()))]     => Refused("something after the token");
        "a comma",                 Strict, [auth(format!("Bearer {},", good()))]   => Refused("signature is not base64url");
        "quotes",                  Strict, [auth(format!("Bearer \"{}\"", good()))] => Refused("header is not base64url");
        "letters beyond ASCII",    Strict, [auth("Bearer ä.ö.ü")]                  => Refused("something else than ASCII text");
        "bytes of no text",        Strict, [auth(b"Bearer \xff\xfe")]              => Refused("something else than ASCII text");
        "two headers",             Strict, [bearer(good()), bearer(good())]        => Refused("more than one Authorization header");
        "good and bad",            Strict, [bearer(good()), auth("Basic x")]       => Refused("more than one Authorization header");
        "bad and good",            Strict, [auth(""), bearer(good())]              => Refused("more than one Authorization header");
        "in the wrong header",     Strict, [header("proxy-authorization", format!("Bearer {}", good()))] => Refused("a token is required");
        "in a cookie",             Strict, [header("cookie", format!("token={}", good()))] => Refused("a token is required");
        "a user by X-USER-ID",     Strict, [header("x-user-id", "ann")]            => Refused("a token is required");
        "a proxy, and a token",    Strict, [header("x-forwarded-for", "10.0.0.1"), bearer(good())] => Is("ann", "user");
        "another host, a token",   Strict, [host("db.example"), bearer(good())]    => Is("ann", "user");
    }
}

#[rustfmt::skip]
fn localhost() -> Vec<Case> {
    let good = || bearer(hs(json!({})));
    let system = || bearer(hs(json!({"user_id": "system", "role": "dba"})));
    table! {
        "a program here",            Local,   []                                  => Is("system", "system");
        "a program here, no key",    Keyless, []                                  => Is("system", "system");
        "host with a port",          Local,   [host("127.0.0.1:8080")]            => Is("system", "system");
        "host localhost",            Local,   [host("localhost")]                 => Is("system", "system");
        "host in capitals",          Local,   [host("LOCALHOST:80")]              => Is("system", "system");
        "host below localhost",      Local,   [host("db.localhost:8080")]         => Is("system", "system");
        "host with a last dot",      Local,   [host("localhost.:8080")]           => Is("system", "system");
        "host 127.9.9.9",            Local,   [host("127.9.9.9")]                 => Is("system", "system");
        "host in IPv6",              Local,   [host("[::1]:8080")]                => Is("system", "system");
        "host mapped to IPv6",       Local,   [host("[::ffff:127.0.0.1]")]        => Is("system", "system");
        "a page here",               Local,   [origin("http://localhost:3000")]   => Is("system", "system");
        "a page in IPv6",            Local,   [origin("http://[::1]:5173")]       => Is("system", "system");
        "a page that is listed",     Local,   [origin("https://app.example")]     => Is("system", "system");
        "the same in capitals",      Local,   [origin("HTTPS://App.Example")]     => Is("system", "system");
        "X-USER-ID changes nothing", Local,   [header("x-user-id", "ann")]        => Is("system", "system");
        "a host elsewhere",          Local,   [host("evil.example")]              => Refused("the Host header does not name this machine");
        "a host like localhost",     Local,   [host("localhost.evil.example")]    => Refused("the Host header does not name this machine");
        "a host like 127.0.0.1",     Local,   [host("127.0.0.1.evil.example")]    => Refused("the Host header does not name this machine");
        "a host with a user",        Local,   [host("localhost@evil.example")]    => Refused("the Host header does not name this machine");
        "a user with a host",        Local,   [host("evil.example@localhost")]    => Refused("the Host header does not name this machine");
        "a host with no port",       Local,   [host("localhost:evil")]            => Refused("the Host header does not name this machine");
        "a port beyond ports",       Local,   [host("localhost:99999")]           => Refused("the Host header does not name this machine");
        "a host of the network",     Local,   [host("192.168.0.7:8080")]          => Refused("the Host header does not name this machine");
        "any address",               Local,   [host("0.0.0.0:8080")]              => Refused("the Host header does not name this machine");
        "a number for a host",       Local,   [host("2130706433")]                => Refused("the Host header does not name this machine");
        "a short address",           Local,   [host("127.1")]                     => Refused("the Host header does not name this machine");
        "an empty host",             Local,   [host("")]                          => Refused("the Host header does not name this machine");
        "no host",                   Local,   [no_host()]                         => Refused("the Host header does not name this machine");
        "two hosts",                 Local,   [host("localhost"), host("localhost")] => Refused("the Host header does not name this machine");
        "a host and an evil one",    Local,   [host("localhost"), host("evil.example")] => Refused("the Host header does not name this machine");
        "a page elsewhere",          Local,   [origin("https://evil.example")]    => Refused("the Origin header is neither loopback nor listed");
        "a page of nowhere",         Local,   [origin("null")]                    => Refused("the Origin header is neither loopback nor listed");
        "an empty origin",           Local,   [origin("")]                        => Refused("the Origin header is neither loopback nor listed");
        "an origin like localhost",  Local,   [origin("http://localhost.evil.example")] => Refused("the Origin header is neither loopback nor listed");
        "an origin with a user",     Local,   [origin("http://localhost@evil.example")] => Refused("the Origin header is neither loopback nor listed");
        "an origin with a path",     Local,   [origin("http://localhost:3000/x")] => Refused("the Origin header is neither loopback nor listed");
        "an origin of files",        Local,   [origin("file://localhost")]        => Refused("the Origin header is neither loopback nor listed");
        "an origin without scheme",  Local,   [origin("localhost")]               => Refused("the Origin header is neither loopback nor listed");
        "a port not listed",         Local,   [origin("https://app.example:8443")] => Refused("the Origin header is neither loopback nor listed");
        "http for https",            Local,   [origin("http://app.example")]      => Refused("the Origin header is neither loopback nor listed");
        "two origins, one evil",     Local,   [origin("http://localhost"), origin("https://evil.example")] => Refused("the Origin header is neither loopback nor listed");
        "Forwarded",                 Local,   [header("forwarded", "for=127.0.0.1")] => Refused("through a proxy (header forwarded)");
        "X-Forwarded-For",           Local,   [header("x-forwarded-for", "127.0.0.1")] => Refused("through a proxy (header x-forwarded-for)");
        "X-Forwarded-For, empty",    Local,   [header("x-forwarded-for", "")]     => Refused("through a proxy (header x-forwarded-for)");
        "X-Real-IP",                 Local,   [header("X-REAL-IP", "::1")]        => Refused("through a proxy (header x-real-ip)");
        "a proxy, listed origin",    Local,   [origin("https://app.example"), header("x-real-ip", "::1")] => Refused("through a proxy");
        "a token all the same",      Local,   [good()]                            => Is("ann", "user");
        "a token through a proxy",   Local,   [good(), header("forwarded", "for=10.0.0.1")] => Is("ann", "user");
        "a token, a host elsewhere", Local,   [good(), host("db.example")]        => Is("ann", "user");
        "a token, a page elsewhere", Local,   [good(), origin("https://evil.example")] => Is("ann", "user");
        "a bad token from here",     Local,   [bearer("x")]                       => Refused("not three parts");
        "an empty header from here", Local,   [auth("")]                          => Refused("Authorization header is empty");
        "Basic from here",           Local,   [auth("Basic eDp5")]                => Refused("not of the form Bearer and a token");
        "an expired one from here",  Local,   [bearer(hs(json!({"exp": now()})))] => Refused("has expired");
        "a token for localhost_user", Local,  [system()]                          => Refused("the token is for auth.localhost_user");
        "the same without the rule", Strict,  [system()]                          => Is("system", "dba");
        "a token where no key is",   Keyless, [good()]                            => Refused("this server has no key to check tokens with");
        "a program here, no rule",   Strict,  [host("localhost")]                 => Refused("a token is required");
        "a page here, no rule",      Strict,  [origin("http://localhost:3000")]   => Refused("a token is required");
    }
}

#[rustfmt::skip]
fn rows() -> Vec<Case> {
    let claim = |user: &str, role: &str| bearer(hs(json!({"user_id": user, "role": role})));
    table! {
        "a row above the claim",       Strict, [claim("raised", "user")]    => Is("raised", "dba");
        "a row like the claim",        Strict, [claim("raised", "dba")]     => Is("raised", "dba");
        "a row below the claim",       Strict, [claim("lowered", "dba")]    => Is("lowered", "user");
        "a row below, from here",      Local,  [claim("lowered", "service")] => Is("lowered", "user");
        "a row between",               Strict, [claim("served", "dba")]     => Is("served", "service");
        "a row a little above",        Strict, [claim("served", "user")]    => Is("served", "service");
        "a row without a role",        Strict, [claim("plain", "service")]  => Is("plain", "service");
        "another user's row",          Strict, [claim("Lowered", "dba")]    => Is("Lowered", "dba");
        "a disabled row",              Strict, [claim("off", "dba")]        => Refused("user 'off' is disabled");
        "a disabled row, any claim",   Strict, [claim("off", "user")]       => Refused("user 'off' is disabled");
        "a disabled row, from here",   Local,  [claim("off", "dba")]        => Refused("user 'off' is disabled");
        "enabled again",               Strict, [claim("on", "user")]        => Is("on", "dba");
        "dropped: the claim is back",  Strict, [claim("gone", "service")]   => Is("gone", "service");
        "an unknown role and a row",   Strict, [claim("raised", "root")]    => Refused("unknown role");
        "disabled and expired",        Strict, [bearer(hs(json!({"user_id": "off", "exp": now()})))] => Refused("has expired");
    }
}
