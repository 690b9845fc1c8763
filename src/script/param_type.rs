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
    /// A list of values.
    List,
    /// A map with any keys.
    Map,
}

const TYPES: [(&str, ParamType); 8] = [
    ("string", ParamType::String),
    ("int", ParamType::Int),
    ("float", ParamType::Float),
    ("bool", ParamType::Bool),
    ("duration", ParamType::Duration),
    ("size", ParamType::Size),
    ("list", ParamType::List),
    ("map", ParamType::Map),
];

impl ParamType {
    /// Parses the name of a type.
    ///
    /// # Errors
    /// Returns a message that lists the types.
    pub fn parse(name: &str) -> Result<Self, String> {
        TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or_else(|| {
            let names = TYPES.map(|(known, _)| known);
            let hint = did_you_mean(name, names).unwrap_or_else(|| format!("the types are {}", names.join(", ")));
            format!("`{name}` is not a parameter type; {hint}")
        })
    }

    /// Returns the name of the type.
    pub fn name(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn phrase(self) -> String {
        let article = if self == Self::Int { "an" } else { "a" };
        format!("{article} {}", self.name())
    }

    /// Checks a value and returns it as this type.
    pub(super) fn accept(self, value: &Value) -> Result<Value, String> {
        let wrong = || format!("must be {}, not {}", self.phrase(), describe(value));
        match (self, value) {
            (Self::Bool, Value::Bool(_)) | (Self::List, Value::Array(_)) | (Self::Map, Value::Object(_)) => {
                Ok(value.clone())
            }
            (Self::String, Value::String(_)) => Ok(value.clone()),
            (Self::String, Value::Object(map)) if map.contains_key("secret_text") => Ok(value.clone()),
            (Self::String, Value::Number(number)) => Ok(Value::String(number.to_string())),
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
            Self::List if !text.trim_start().starts_with('[') => Ok(match text.trim() {
                "" => Value::Array(Vec::new()),
                text => text.split(',').map(|item| Value::String(item.trim().into())).collect(),
            }),
            Self::List | Self::Map => {
                let value: Value = serde_json::from_str(text).map_err(|_| format!("{}: write it as JSON", wrong()))?;
                self.accept(&value)
            }
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
