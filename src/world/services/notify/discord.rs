//! Builds the payload of a Discord webhook: one embed with a colour.

use serde_json::{Value, json};

use super::message::{Message, Severity};

/// Returns the payload. Mentions are switched off and markup is escaped.
pub(super) fn payload(message: &Message) -> Value {
    let message = message.for_chat();
    let fields: Vec<Value> = message
        .fields
        .iter()
        .map(|(name, value)| json!({"name": field_text(name), "value": field_text(value), "inline": true}))
        .collect();
    let mut embed = json!({"title": escaped(&message.title), "color": colour(message.severity), "fields": fields});
    if !message.text.is_empty() {
        embed["description"] = escaped(&message.text).into();
    }
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

fn colour(severity: Severity) -> u32 {
    match severity {
        Severity::Neutral => 0x0034_98DB,
        Severity::Success => 0x002E_CC71,
        Severity::Failure => 0x00E7_4C3C,
        Severity::Warning => 0x00F3_9C12,
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '#' | '[' | ']' | '@') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Escapes a name or value. Discord refuses empty ones, so they become `-`.
fn field_text(text: &str) -> String {
    if text.trim().is_empty() { "-".into() } else { escaped(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_and_mentions_are_off() {
        let message = Message {
            title: "web: done".into(),
            text: "*v2* @everyone".into(),
            fields: vec![("empty".into(), String::new())],
            severity: Severity::Success,
        };
        let payload = payload(&message);
        assert_eq!(payload["embeds"][0]["description"], "\\*v2\\* \\@everyone");
        assert_eq!(payload["embeds"][0]["color"], 0x2ECC71);
        assert_eq!(payload["embeds"][0]["fields"][0], json!({"name": "empty", "value": "-", "inline": true}));
        assert_eq!(payload["allowed_mentions"], json!({"parse": []}));
    }
}
