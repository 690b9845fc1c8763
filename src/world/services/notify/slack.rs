//! Slack's incoming webhook: blocks, and a text for where blocks are not shown.

use serde_json::{Value, json};

use super::template::Message;

/// Everything that comes from outside is `plain_text`, in which Slack reads no markup and no mention.
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

/// The three characters that Slack's `text` reads as markup of links and mentions.
fn escaped(text: &str) -> String {
    text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::template::Mood;
    use super::*;

    #[test]
    fn nobody_is_called_by_what_comes_from_outside() {
        let message = Message {
            title: "web".into(),
            text: "<!channel> a & b".into(),
            fields: vec![("commit".into(), "abc".into())],
            mood: Mood::Good,
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
