//! Takes large values out of an entry's JSON and puts them back: what stays has a bounded size, whatever a program
//! said. Knows JSON; not what entries mean, and no store.

use std::borrow::Cow;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A text or a list longer than this, in bytes, is kept beside its entry.
pub const SPILLED_FROM: usize = 16 << 10;
/// So much of a text stays in the entry, for whoever reads the tables by hand.
const PREVIEW: usize = 512;
/// What an entry is made of: it stays, and the values in it are spilled one by one.
const FRAME: [&str; 7] = ["", "/header", "/intent", "/intent/undo", "/intent/undo/effect", "/error", "/end"];

/// One value that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spilled<'a> {
    /// Where it belongs, as a JSON pointer.
    pub place: String,
    pub form: Form,
    pub text: Cow<'a, str>,
}

/// How the text stands for the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is the value.
    Text,
    /// It is the value's JSON.
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

/// The value without its large parts, and these.
pub fn spill(value: &Value) -> (Value, Vec<Spilled<'_>>) {
    let mut spilled = Vec::new();
    let small = shrink(value, &mut String::new(), &mut spilled);
    (small, spilled)
}

fn shrink<'a>(value: &'a Value, place: &mut String, spilled: &mut Vec<Spilled<'a>>) -> Value {
    let before = spilled.len();
    let small = match value {
        Value::String(text) if text.len() > SPILLED_FROM => {
            spilled.push(Spilled { place: place.clone(), form: Form::Text, text: Cow::Borrowed(text) });
            return Value::String(preview(text).to_owned());
        }
        Value::Array(items) => Value::Array(
            items.iter().enumerate().map(|(index, item)| below(place, &index.to_string(), item, spilled)).collect(),
        ),
        Value::Object(map) => {
            let item = |(key, item): (&String, &'a Value)| (key.clone(), below(place, key, item, spilled));
            Value::Object(map.iter().map(item).collect::<Map<_, _>>())
        }
        small => return small.clone(),
    };
    if FRAME.contains(&place.as_str()) || small.to_string().len() <= SPILLED_FROM {
        return small;
    }
    // Many small things: they go as one.
    spilled.truncate(before);
    spilled.push(Spilled { place: place.clone(), form: Form::Json, text: Cow::Owned(value.to_string()) });
    Value::Null
}

fn below<'a>(place: &mut String, step: &str, value: &'a Value, spilled: &mut Vec<Spilled<'a>>) -> Value {
    let length = place.len();
    place.push('/');
    place.push_str(&step.replace('~', "~0").replace('/', "~1"));
    let small = shrink(value, place, spilled);
    place.truncate(length);
    small
}

fn preview(text: &str) -> &str {
    let end = (0..=PREVIEW.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// Puts a value back where it was taken from.
///
/// # Errors
/// Says what is wrong when there is no such place, or the text is no JSON.
pub fn put_back(value: &mut Value, place: &str, form: Form, text: String) -> Result<(), String> {
    let slot = value.pointer_mut(place).ok_or_else(|| format!("it has no place `{place}`"))?;
    *slot = match form {
        Form::Text => Value::String(text),
        Form::Json => serde_json::from_str(&text).map_err(|error| format!("`{place}`: {error}"))?,
    };
    Ok(())
}

/// The name of a text that is kept once, however often it comes.
pub fn digest(text: &str) -> String {
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
            put_back(&mut back, &part.place, part.form, part.text.to_string()).unwrap();
        }
        assert_eq!(back, *value);
        (small, spilled.len())
    }

    #[test]
    fn small_values_stay() {
        let value = json!({"entry": "logged", "text": "x".repeat(SPILLED_FROM)});
        assert_eq!(there_and_back(&value), (value, 0));
    }

    #[test]
    fn a_long_text_leaves_its_beginning() {
        let value = json!({"outcome": {"stdout": "ä".repeat(SPILLED_FROM), "a/b~c": "y".repeat(SPILLED_FROM + 1)}});
        let (small, spilled) = there_and_back(&value);
        assert_eq!(spilled, 2);
        assert_eq!(small["outcome"]["stdout"].as_str().unwrap(), "ä".repeat(PREVIEW / 2));
    }

    #[test]
    fn many_small_things_go_as_one() {
        let many: Vec<_> = (0..5000).map(|n| json!({"n": n, "name": "z".repeat(n % 7)})).collect();
        let value = json!({"entry": "intended", "intent": {"seq": "1", "args": {"all": many, "one": 1}}});
        let (small, spilled) = there_and_back(&value);
        assert_eq!((spilled, &small["intent"]["args"]["one"], &small["intent"]["seq"]), (1, &json!(1), &json!("1")));
    }

    proptest! {
        #[test]
        fn whatever_it_is_it_comes_back_and_leaves_little(lengths in proptest::collection::vec(0usize..40_000, 0..40)) {
            let items: Vec<_> = lengths.iter().map(|length| json!({"k": "v".repeat(*length), "n": length})).collect();
            let value = json!({"entry": "completed", "outcome": items});
            let (small, _) = there_and_back(&value);
            prop_assert!(small.to_string().len() < SPILLED_FROM + 100);
        }
    }
}
