//! Verifies AWS Signature Version 4. It shares no code with the library that signs the requests.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub const ACCESS_KEY: &str = "AKIDTEST";
pub const SECRET_KEY: &str = "very-secret-key";
pub const REGION: &str = "us-east-1";

/// A request as received. The names of its headers are in lower case.
pub struct SignedRequest<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: &'a [u8],
}

/// Verifies the signature for a service, and the checksum of the payload. The error is the error code of the service.
pub fn verify(request: &SignedRequest<'_>, service: &str) -> Result<(), &'static str> {
    let authorization = request.headers.get("authorization").ok_or("AccessDenied")?;
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
    let payload = request.headers.get("x-amz-content-sha256").ok_or("AccessDenied")?;
    if payload != "UNSIGNED-PAYLOAD" && *payload != hex(&Sha256::digest(request.body)) {
        return Err("XAmzContentSHA256Mismatch");
    }
    let signed = field("SignedHeaders").ok_or("AccessDenied")?;
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", request.headers.get(name).map_or("", String::as_str)))
        .collect();
    let mut query: Vec<String> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
        .collect();
    query.sort();
    let canonical =
        format!("{}\n{}\n{}\n{headers}\n{signed}\n{payload}", request.method, request.path, query.join("&"));
    let date = request.headers.get("x-amz-date").ok_or("AccessDenied")?;
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
    let pad = |byte: u8| block.map(|key_byte| key_byte ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
