//! The types of parameters, and how values are read as them.

use serde_json::Value;

use crate::base::byte_size::ByteSize;
use crate::base::duration_text::DurationText;
use crate::base::suggest::did_you_mean;

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Text; a secret is accepted too.
    String,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// A duration, such as `30s`.
    Duration,
    /// A size in bytes, such as `512m`.
    Size,
    /// A list of values: of any type, or of this one.
    List(Option<&'static ParamType>),
    /// A map with any keys, and values of any type or of this one.
    Map(Option<&'static ParamType>),
}

static TYPES: [(&str, ParamType); 8] = [
    ("string", ParamType::String),
    ("int", ParamType::Int),
    ("float", ParamType::Float),
    ("bool", ParamType::Bool),
    ("duration", ParamType::Duration),
    ("size", ParamType::Size),
    ("list", ParamType::List(None)),
    ("map", ParamType::Map(None)),
];

impl ParamType {
    /// Parses the name of a type.
    ///
    /// # Errors
    /// Returns a message that lists the types.
    pub fn parse(name: &str) -> Result<Self, String> {
        let simple = |name: &str| TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
        let parsed = match (name.strip_prefix("list of "), name.strip_prefix("map of ")) {
            (Some(of), _) => simple(of).map(|of| Self::List(Some(of))),
            (_, Some(of)) => simple(of).map(|of| Self::Map(Some(of))),
            _ => simple(name).copied(),
        };
        parsed.ok_or_else(|| {
            let names = TYPES.map(|(known, _)| known);
            let all = || format!("the types are {}, `list of TYPE` and `map of TYPE`", names.join(", "));
            format!("`{name}` is not a parameter type; {}", did_you_mean(name, names).unwrap_or_else(all))
        })
    }

    /// Returns the name of the type.
    pub fn name(self) -> String {
        match self {
            Self::List(Some(of)) => format!("list of {}", of.name()),
            Self::Map(Some(of)) => format!("map of {}", of.name()),
            _ => TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name).to_owned(),
        }
    }

    fn phrase(self) -> String {
        let article = if self == Self::Int { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// Checks a value and returns it as this type.
    pub(super) fn accept(self, value: &Value) -> Result<Value, String> {
        let wrong = || format!("must be {}, not {}", self.phrase(), describe(value));
        match (self, value) {
            (Self::Bool, Value::Bool(_))
            | (Self::List(None), Value::Array(_))
            | (Self::Map(None), Value::Object(_)) => Ok(value.clone()),
            (Self::List(Some(of)), Value::Array(items)) => {
                let item = |(number, item): (usize, &Value)| {
                    of.accept(item).map_err(|why| format!("is a {}, and item {} {why}", self.name(), number + 1))
                };
                items.iter().enumerate().map(item).collect()
            }
            (Self::Map(Some(of)), Value::Object(entries)) => {
                let entry = |(key, value): (&String, &Value)| {
                    let value = of.accept(value).map_err(|why| format!("is a {}, and `{key}` {why}", self.name()))?;
                    Ok((key.clone(), value))
                };
                entries.iter().map(entry).collect::<Result<_, String>>().map(Value::Object)
            }
            (Self::String, Value::String(_)) => Ok(value.clone()),
            (Self::String, Value::Object(map)) if map.contains_key("secret_text") => Ok(value.clone()),
            (Self::String, Value::Number(number)) if number.is_f64() => {
                Err(format!("{}: put it in quotes, because 3.10 and 3.1 are the same number", wrong()))
            }
            (Self::String, Value::Number(number)) => Ok(Value::String(number.to_string())),
            (Self::String, Value::Bool(value)) => Ok(Value::String(value.to_string())),
            (Self::Int, Value::Number(number)) if number.is_i64() => Ok(value.clone()),
            (Self::Float, Value::Number(_)) => Ok(value.clone()),
            (Self::Duration, Value::String(text)) => text.parse::<DurationText>().map(|_| value.clone()),
            (Self::Size, Value::String(text)) => text.parse::<ByteSize>().map(|_| value.clone()),
            (Self::Size, Value::Number(number)) if number.is_u64() => Ok(value.clone()),
            _ => Err(wrong()),
        }
    }

    /// Parses a text from the command line.
    pub(super) fn parse_value(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("must be {}, not `{text}`", self.phrase());
        match self {
            Self::String | Self::Duration | Self::Size => self.accept(&Value::String(text.into())),
            Self::Int => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
            Self::Float => {
                text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from).ok_or_else(wrong)
            }
            Self::Bool => text.parse::<bool>().map(Value::from).map_err(|_| wrong()),
            Self::List(_) if text.trim().is_empty() => Ok(Value::Array(Vec::new())),
            Self::List(of)
                if !text.trim_start().starts_with('[') && !matches!(of, Some(Self::Map(_) | Self::List(_))) =>
            {
                let of = of.unwrap_or(&Self::String);
                let item = |(number, item): (usize, &str)| {
                    of.parse_value(item.trim())
                        .map_err(|why| format!("is a {}, and item {} {why}", self.name(), number + 1))
                };
                text.split(',').enumerate().map(item).collect()
            }
            Self::List(_) | Self::Map(_) => {
                let value: Value = serde_json::from_str(text).map_err(|_| format!("{}: write it as JSON", wrong()))?;
                self.accept(&value)
            }
        }
    }

    /// Parses a text from the command line as one value of a map.
    pub(super) fn parse_entry(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Map(Some(of)) => of.parse_value(text),
            // No type is declared: JSON is parsed, anything else is text.
            _ => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into()))),
        }
    }
}

/// Returns a value with its type, for messages.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => format!("the string `{text}`"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(name: &str) -> ParamType {
        ParamType::parse(name).unwrap()
    }

    #[test]
    fn types_have_the_names_that_they_are_parsed_from() {
        for name in ["string", "size", "list", "map", "list of int", "map of string", "list of map"] {
            assert_eq!(typed(name).name(), name);
        }
        assert!(ParamType::parse("list of strings").unwrap_err().contains("is not a parameter type"));
        assert!(ParamType::parse("int list").unwrap_err().contains("`list of TYPE`"));
    }

    #[test]
    fn items_and_entries_have_their_declared_type() {
        let (codes, texts) = (typed("list of int"), typed("map of string"));
        assert_eq!(codes.parse_value("302, 200").unwrap(), json!([302, 200]));
        assert_eq!(codes.parse_value("").unwrap(), json!([]));
        assert_eq!(
            codes.accept(&json!([200, "x"])).unwrap_err(),
            "is a list of int, and item 2 must be an int, not the string `x`"
        );
        assert_eq!(codes.parse_value("200,ok").unwrap_err(), "is a list of int, and item 2 must be an int, not `ok`");
        assert_eq!(texts.parse_entry("3.10").unwrap(), json!("3.10"));
        assert_eq!(texts.parse_entry("12345678901234567890").unwrap(), json!("12345678901234567890"));
        assert_eq!(texts.parse_entry("null").unwrap(), json!("null"));
        assert_eq!(texts.accept(&json!({"PORT": 80, "DEBUG": true})).unwrap(), json!({"PORT": "80", "DEBUG": "true"}));
        assert!(texts.accept(&json!({"PYTHON": 3.1})).unwrap_err().contains("put it in quotes"));
        assert_eq!(
            texts.accept(&json!({"A": null})).unwrap_err(),
            "is a map of string, and `A` must be a string, not nothing"
        );
    }
}
