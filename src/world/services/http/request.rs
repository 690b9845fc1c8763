//! What HTTP requests and responses have in common, for all services that send them. Reveals secrets at the last moment.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use serde_json::Value;

use crate::base::text::Text;
use crate::base::vault::{MissingSecret, Vault};
use crate::effect::EffectError;
use crate::effect::http::{BODY_LIMIT, url_not_http, url_not_valid};

/// The error of a request that cannot be sent as it is.
pub(crate) fn invalid(message: impl Into<String>) -> EffectError {
    EffectError::invalid(message)
}

/// Reveals the text and parses it as an `http` or `https` URL.
pub(crate) fn parse_url(vault: &Vault, text: &Text) -> Result<Url, EffectError> {
    let url = Url::parse(&vault.reveal(text)?).map_err(|error| url_not_valid(text, &error))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(url_not_http(text));
    }
    Ok(url)
}

/// Reveals headers. Those with secrets are marked as sensitive.
pub(crate) fn header_map(vault: &Vault, headers: &BTreeMap<String, Text>) -> Result<HeaderMap, EffectError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, text) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` is not a valid header name")))?;
        let mut value = HeaderValue::from_str(&vault.reveal(text)?).map_err(|_| {
            invalid(format!("the value of header `{name}` contains a line break or another control character"))
        })?;
        value.set_sensitive(text.secret_names().next().is_some());
        map.insert(key, value);
    }
    Ok(map)
}

/// Returns a JSON value with its secrets revealed.
pub(super) fn reveal_json(vault: &Vault, value: &Value) -> Result<Value, MissingSecret> {
    Ok(match value {
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| reveal_json(vault, item)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => match secret_text(value) {
            Some(text) => Value::String(vault.reveal(&text)?),
            None => Value::Object(
                map.iter().map(|(key, item)| Ok((key.clone(), reveal_json(vault, item)?))).collect::<Result<_, _>>()?,
            ),
        },
        plain => plain.clone(),
    })
}

/// Returns the secret text if this value is the serialized form of one.
fn secret_text(value: &Value) -> Option<Text> {
    let has_one_key = value.as_object().is_some_and(|map| map.len() == 1);
    has_one_key.then(|| serde_json::from_value(value.clone()).ok()).flatten()
}

/// Returns `404 Not Found`, or the bare number of a status without a name.
pub(crate) fn status_line(response: &Response) -> String {
    let status = response.status();
    status.canonical_reason().map_or_else(|| status.as_u16().to_string(), |name| format!("{} {name}", status.as_u16()))
}

/// Reads at most [`BODY_LIMIT`] bytes of the body. Returns them and whether there were more.
pub(crate) async fn read_body(response: &mut Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let limit = usize::try_from(BODY_LIMIT.0).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let remaining = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(remaining)]);
        if chunk.len() > remaining {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::ErrorKind;

    #[test]
    fn fills_secrets_into_json() {
        let vault = Vault::new(|name| (name == "TOKEN").then(|| "hunter2".into()));
        let value = serde_json::json!({"a": [{"secret_text": ["Bearer ", {"secret": "TOKEN"}]}], "b": {"c": 1}});
        let revealed = reveal_json(&vault, &value).unwrap();
        assert_eq!(revealed, serde_json::json!({"a": ["Bearer hunter2"], "b": {"c": 1}}));
    }

    #[test]
    fn refuses_other_schemes_than_http() {
        for text in ["", "nonsense", "ftp://host/x", "http://", "file:///etc/passwd", "http://[::1", "unix:/x"] {
            let error = parse_url(&Vault::empty(), &Text::plain(text)).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid, "{text}: {error}");
        }
    }
}
