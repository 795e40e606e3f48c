//! The public key of `auth.jwt_public_key_file`: read once, at start, and refused there if it is of no use.
//!
//! The key decides the algorithm. What the libraries would notice only when they check a token (a curve that is not
//! P-256, a modulus they do not take) is noticed here, so that it ends the start and not every request.

use std::path::Path;

use jsonwebtoken::{Algorithm, DecodingKey};

/// Bits that an RSA key may have: RFC 7518 (3.3) asks for the first, the library takes no more than the second.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;
const UNSUPPORTED: &str = "holds no key of a supported kind";

/// A key file that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected a PEM file with one public key for RS256 (2048 to 4096 bits), ES256 (P-256) or EdDSA (Ed25519)")]
pub struct KeyError(String);

pub(super) fn read_public_key(path: &Path) -> Result<(DecodingKey, Algorithm), KeyError> {
    let text = std::fs::read(path).map_err(|error| KeyError(format!("cannot read {}: {error}", path.display())))?;
    parse_public_key(&text).map_err(|why| KeyError(format!("{} {why}", path.display())))
}

fn parse_public_key(pem: &[u8]) -> Result<(DecodingKey, Algorithm), String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err("holds a private key, which does not belong on a server that only checks tokens".to_owned());
    }
    if !text.contains("-----BEGIN PUBLIC KEY-----") && !text.contains("-----BEGIN RSA PUBLIC KEY-----") {
        return Err("holds no public key".to_owned());
    }
    // The library reads the first and says nothing of the others.
    if text.matches("-----BEGIN ").count() > 1 {
        return Err("holds more than one PEM block".to_owned());
    }
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        // A point of another curve shows only when it is used.
        jsonwebtoken::crypto::verify("AAAA", b"", &key, Algorithm::ES256).map_err(|_| UNSUPPORTED)?;
        return Ok((key, Algorithm::ES256));
    }
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        // The library cuts the first bytes off without a look at the length.
        if key.try_get_as_bytes().map_or(0, <[u8]>::len) != ED25519_BYTES {
            return Err(UNSUPPORTED.to_owned());
        }
        jsonwebtoken::crypto::verify("AAAA", b"", &key, Algorithm::EdDSA).map_err(|_| UNSUPPORTED)?;
        return Ok((key, Algorithm::EdDSA));
    }
    let key = DecodingKey::from_rsa_pem(pem).map_err(|_| UNSUPPORTED)?;
    match key.try_get_as_bytes().ok().and_then(modulus_bits) {
        Some(bits) if RSA_BITS.contains(&bits) => Ok((key, Algorithm::RS256)),
        Some(bits) => Err(format!("holds an RSA key of {bits} bits")),
        None => Err(UNSUPPORTED.to_owned()),
    }
}

/// How many bits the modulus of a PKCS#1 public key has: `SEQUENCE { INTEGER modulus, INTEGER exponent }` in DER.
fn modulus_bits(der: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    let (SEQUENCE, content, _) = der_element(der)? else { return None };
    let (INTEGER, modulus, rest) = der_element(content)? else { return None };
    let (INTEGER, _, _) = der_element(rest)? else { return None };
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let unused = modulus.get(zeros)?.leading_zeros();
    Some((modulus.len() - zeros) * 8 - usize::try_from(unused).ok()?)
}

/// One element of DER: its tag, its content, what follows it.
fn der_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
