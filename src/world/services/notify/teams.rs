//! Builds the payload of a Microsoft Teams Workflows webhook ("When a Teams webhook request is received"): one Adaptive
//! Card.

use serde_json::{Value, json};

use super::message::{Message, Severity};

/// Returns the payload. Texts are `TextRun`s, in which Teams reads no markup. Facts allow only Markdown, so they are
/// escaped.
pub(super) fn payload(message: &Message) -> Value {
    let message = message.for_chat();
    let title = json!({
        "type": "TextRun", "text": message.title, "weight": "bolder", "size": "large", "color": colour(message.severity),
    });
    let mut body = vec![json!({"type": "RichTextBlock", "inlines": [title]})];
    for line in message.text.lines() {
        body.push(json!({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": line}]}));
    }
    if !message.fields.is_empty() {
        let facts: Vec<Value> = message
            .fields
            .iter()
            .map(|(name, value)| json!({"title": escaped(name), "value": escaped(value)}))
            .collect();
        body.push(json!({"type": "FactSet", "facts": facts}));
    }
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Neutral => "default",
        Severity::Success => "good",
        Severity::Failure => "attention",
        Severity::Warning => "warning",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '*' | '_' | '[' | ']' | '(' | ')' | '`' | '~' | '<' | '>' | '#') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_the_card_that_workflows_accept() {
        let message = Message {
            title: "web: failed".into(),
            text: "one\n[two](x)".into(),
            fields: vec![("commit".into(), "[a](b)".into())],
            severity: Severity::Failure,
        };
        let payload = payload(&message);
        assert_eq!(payload["type"], "message");
        let card = &payload["attachments"][0]["content"];
        assert_eq!(card["type"], "AdaptiveCard");
        assert_eq!(card["body"][0]["inlines"][0]["color"], "attention");
        assert_eq!(card["body"][2]["inlines"][0]["text"], "[two](x)");
        assert_eq!(card["body"][3]["facts"][0]["value"], "\\[a\\]\\(b\\)");
    }
}
