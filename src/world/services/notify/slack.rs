//! Builds the payload of a Slack incoming webhook: blocks, and a text for clients that show no blocks.

use serde_json::{Value, json};

use super::message::Message;

/// Returns the payload. All texts are `plain_text`, in which Slack reads no markup and no mentions.
pub(super) fn payload(message: &Message) -> Value {
    let message = message.for_chat();
    let mut blocks = vec![json!({"type": "header", "text": plain(&message.title)})];
    if !message.text.is_empty() {
        blocks.push(json!({"type": "section", "text": plain(&message.text)}));
    }
    if !message.fields.is_empty() {
        let fields: Vec<Value> =
            message.fields.iter().map(|(name, value)| plain(&format!("{name}\n{value}"))).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    json!({"text": escaped(&format!("{}\n{}", message.title, message.text)), "blocks": blocks})
}

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// Escapes the three characters that Slack's `text` reads as markup of links and mentions.
fn escaped(text: &str) -> String {
    text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::message::Severity;
    use super::*;

    #[test]
    fn foreign_text_cannot_mention_anyone() {
        let message = Message {
            title: "web".into(),
            text: "<!channel> a & b".into(),
            fields: vec![("commit".into(), "abc".into())],
            severity: Severity::Success,
        };
        let payload = payload(&message);
        assert_eq!(payload["text"], "web\n&lt;!channel&gt; a &amp; b");
        assert_eq!(payload["blocks"][0]["type"], "header");
        assert_eq!(
            payload["blocks"][1]["text"],
            json!({"type": "plain_text", "text": "<!channel> a & b", "emoji": false})
        );
        assert_eq!(payload["blocks"][2]["fields"][0]["text"], "commit\nabc");
    }
}
