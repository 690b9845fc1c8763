//! Takes large values out of an entry's JSON and puts them back: what stays has a bounded size, however much a program
//! printed. Knows JSON, but not what entries mean, and no store.

use std::borrow::Cow;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A text or a list longer than this, in bytes, is stored beside its entry.
pub(super) const SPILL_THRESHOLD: usize = 16 << 10;
/// How much of a text stays in the entry, for those who read the tables directly.
const PREVIEW: usize = 512;
/// The objects that an entry consists of. They stay; the values in them are spilled one by one.
const FRAME: [&str; 7] = ["", "/header", "/intent", "/intent/undo", "/intent/undo/effect", "/error", "/end"];

/// One value that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spilled<'a> {
    /// Where it belongs, as a JSON pointer.
    pub pointer: String,
    pub form: Form,
    pub text: Cow<'a, str>,
}

/// How a text represents a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The text is the value.
    Text,
    /// The text is the value's JSON.
    Json,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Text, Self::Json].into_iter().find(|form| form.name() == name)
    }
}

/// Splits a value into the value without its large parts, and these parts.
pub(super) fn spill(value: &Value) -> (Value, Vec<Spilled<'_>>) {
    let mut spilled = Vec::new();
    let small = shrink(value, &mut String::new(), &mut spilled);
    (small, spilled)
}

fn shrink<'a>(value: &'a Value, pointer: &mut String, spilled: &mut Vec<Spilled<'a>>) -> Value {
    let before = spilled.len();
    let small = match value {
        Value::String(text) if text.len() > SPILL_THRESHOLD => {
            spilled.push(Spilled { pointer: pointer.clone(), form: Form::Text, text: Cow::Borrowed(text) });
            return Value::String(preview(text).to_owned());
        }
        Value::Array(items) => Value::Array(
            items.iter().enumerate().map(|(index, item)| below(pointer, &index.to_string(), item, spilled)).collect(),
        ),
        Value::Object(map) => {
            let item = |(key, item): (&String, &'a Value)| (key.clone(), below(pointer, key, item, spilled));
            Value::Object(map.iter().map(item).collect::<Map<_, _>>())
        }
        small => return small.clone(),
    };
    if FRAME.contains(&pointer.as_str()) || small.to_string().len() <= SPILL_THRESHOLD {
        return small;
    }
    // Many small values are spilled as one.
    spilled.truncate(before);
    spilled.push(Spilled { pointer: pointer.clone(), form: Form::Json, text: Cow::Owned(value.to_string()) });
    Value::Null
}

fn below<'a>(pointer: &mut String, step: &str, value: &'a Value, spilled: &mut Vec<Spilled<'a>>) -> Value {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    let small = shrink(value, pointer, spilled);
    pointer.truncate(length);
    small
}

fn preview(text: &str) -> &str {
    let end = (0..=PREVIEW.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Puts a value back where it was taken from.
///
/// # Errors
/// When the pointer leads nowhere, or the text is invalid JSON.
pub(super) fn put_back(value: &mut Value, pointer: &str, form: Form, text: String) -> Result<(), String> {
    let slot = value.pointer_mut(pointer).ok_or_else(|| format!("it has no value at `{pointer}`"))?;
    *slot = match form {
        Form::Text => Value::String(text),
        Form::Json => serde_json::from_str(&text).map_err(|error| format!("`{pointer}`: {error}"))?,
    };
    Ok(())
}

/// Returns the digest that a text is stored under, once, however often it occurs.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn there_and_back(value: &Value) -> (Value, usize) {
        let (small, spilled) = spill(value);
        let mut back = small.clone();
        for part in &spilled {
            put_back(&mut back, &part.pointer, part.form, part.text.to_string()).unwrap();
        }
        assert_eq!(back, *value);
        (small, spilled.len())
    }

    #[test]
    fn small_values_stay() {
        let value = json!({"entry": "logged", "text": "x".repeat(SPILL_THRESHOLD)});
        assert_eq!(there_and_back(&value), (value, 0));
    }

    #[test]
    fn a_long_text_leaves_its_beginning() {
        let value =
            json!({"outcome": {"stdout": "ä".repeat(SPILL_THRESHOLD), "a/b~c": "y".repeat(SPILL_THRESHOLD + 1)}});
        let (small, spilled) = there_and_back(&value);
        assert_eq!(spilled, 2);
        assert_eq!(small["outcome"]["stdout"].as_str().unwrap(), "ä".repeat(PREVIEW / 2));
    }

    #[test]
    fn many_small_values_are_spilled_as_one() {
        let many: Vec<_> = (0..5000).map(|n| json!({"n": n, "name": "z".repeat(n % 7)})).collect();
        let value = json!({"entry": "intended", "intent": {"seq": "1", "args": {"all": many, "one": 1}}});
        let (small, spilled) = there_and_back(&value);
        assert_eq!((spilled, &small["intent"]["args"]["one"], &small["intent"]["seq"]), (1, &json!(1), &json!("1")));
    }

    proptest! {
        #[test]
        fn every_value_comes_back_and_little_stays(lengths in proptest::collection::vec(0usize..40_000, 0..40)) {
            let items: Vec<_> = lengths.iter().map(|length| json!({"k": "v".repeat(*length), "n": length})).collect();
            let value = json!({"entry": "completed", "outcome": items});
            let (small, _) = there_and_back(&value);
            prop_assert!(small.to_string().len() < SPILL_THRESHOLD + 100);
        }
    }
}
