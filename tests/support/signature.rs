//! Signatures of requests, version 4, verified as Amazon does it: with nothing of the library that makes them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "very-secret-key";
pub const REGION: &str = "us-east-1";

/// A request as it arrived; names of headers in lower case.
pub struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: &'a [u8],
}

/// The signature for a service, and the checksum of the payload; else the service's word for what is wrong.
pub fn verify(asked: &Signed<'_>, service: &str) -> Result<(), &'static str> {
    let authorization = asked.headers.get("authorization").ok_or("AccessDenied")?;
    let field =
        |name: &str| authorization.split([' ', ',']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let credential = field("Credential").ok_or("AccessDenied")?;
    let mut scope = credential.splitn(2, '/');
    if scope.next() != Some(ACCESS_KEY) {
        return Err("InvalidAccessKeyId");
    }
    let scope = scope.next().ok_or("AccessDenied")?;
    if !scope.ends_with(&format!("/{REGION}/{service}/aws4_request")) {
        return Err("SignatureDoesNotMatch");
    }
    let payload = asked.headers.get("x-amz-content-sha256").ok_or("AccessDenied")?;
    if payload != "UNSIGNED-PAYLOAD" && *payload != hex(&Sha256::digest(asked.body)) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let signed = field("SignedHeaders").ok_or("AccessDenied")?;
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", asked.headers.get(name).map_or("", String::as_str)))
        .collect();
    let mut query: Vec<String> = asked
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort();
    let canonical = format!("{}\n{}\n{}\n{headers}\n{signed}\n{payload}", asked.method, asked.path, query.join("&"));
    let date = asked.headers.get("x-amz-date").ok_or("AccessDenied")?;
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    if field("Signature") == Some(hex(&hmac(&key, text.as_bytes())).as_str()) {
        Ok(())
    } else {
        Err("SignatureDoesNotMatch")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0; BLOCK];
    let short = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let pad = |byte: u8| block.map(|own| own ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
