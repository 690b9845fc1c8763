//! One primitive: its documentation, its options, and the way from a call's arguments to an effect.

use rhai::Dynamic;
use serde_json::{Map, Value};

use super::value::{to_json, type_phrase};
use crate::base::suggest::did_you_mean;
use crate::effect::{Effect, EffectError, ErrorKind, Request};

/// A primitive as scripts see it. Made at its registration in `family/`, once: checks, errors, help and reference
/// all read it from here.
#[derive(Clone)]
pub struct Primitive {
    pub name: &'static str,
    pub summary: &'static str,
    /// Options that may be given by position, in this order, before the map.
    pub positional: &'static [&'static str],
    pub options: Vec<Opt>,
    /// What it returns.
    pub returns: &'static str,
    /// The kinds of error of its own, besides those that every primitive may end with.
    pub errors: &'static [ErrorKind],
    /// How it is taken back; empty for what only reads.
    pub undo: &'static str,
    /// A call that works.
    pub example: &'static str,
    decode: fn(Value) -> Result<Effect, EffectError>,
}

/// One key of a primitive's map.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    pub name: &'static str,
    /// The type in a word or two.
    pub kind: &'static str,
    /// None: it must be given.
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

impl Primitive {
    /// Begins the description of the primitive that asks for `R`.
    pub fn of<R: Request>(summary: &'static str) -> Self {
        Self {
            name: R::KIND,
            summary,
            positional: &[],
            options: Vec::new(),
            returns: "nothing",
            errors: &[],
            undo: "",
            example: "",
            decode: decode::<R>,
        }
    }

    pub fn positional(mut self, names: &'static [&'static str]) -> Self {
        self.positional = names;
        self
    }

    pub fn required(mut self, name: &'static str, kind: &'static str, doc: &'static str) -> Self {
        self.options.push(Opt { name, kind, default: None, doc });
        self
    }

    pub fn optional(
        mut self,
        name: &'static str,
        kind: &'static str,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        self.options.push(Opt { name, kind, default: Some(default), doc });
        self
    }

    pub fn returns(mut self, text: &'static str) -> Self {
        self.returns = text;
        self
    }

    pub fn errors(mut self, kinds: &'static [ErrorKind]) -> Self {
        self.errors = kinds;
        self
    }

    pub fn undo(mut self, text: &'static str) -> Self {
        self.undo = text;
        self
    }

    pub fn example(mut self, text: &'static str) -> Self {
        self.example = text;
        self
    }

    /// Numbers of arguments that a call may have.
    pub fn arities(&self) -> std::ops::RangeInclusive<usize> {
        let needed = self.options.iter().filter(|option| option.default.is_none()).count();
        let least = if needed == 0 { 0 } else { 1 };
        let most = self.positional.len()
            + usize::from(self.options.len() > self.positional.len() || self.positional.is_empty());
        least..=if self.options.is_empty() { 0 } else { most }
    }

    /// The call in one line: `docker_stop(container, #{grace, signal})`.
    pub fn signature(&self) -> String {
        let rest: Vec<&str> =
            self.options.iter().map(|option| option.name).filter(|name| !self.positional.contains(name)).collect();
        let mut parts: Vec<String> = self.positional.iter().map(|name| (*name).to_owned()).collect();
        if !rest.is_empty() {
            parts.push(format!("#{{{}}}", rest.join(", ")));
        }
        format!("{}({})", self.name, parts.join(", "))
    }

    /// The effect that a call asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: unknown or missing option, wrong type; says which, and what it may have meant.
    pub fn effect(&self, args: &[Dynamic]) -> Result<Effect, EffectError> {
        let map = self.collect(args)?;
        if let Some(unknown) = map.keys().find(|key| self.options.iter().all(|option| option.name != key.as_str())) {
            return Err(self.unknown_option(unknown));
        }
        if let Some(missing) = self
            .options
            .iter()
            .find(|option| option.default.is_none() && map.get(option.name).is_none_or(Value::is_null))
        {
            return Err(self
                .invalid(format!("`{}` needs `{}`: {}", self.name, missing.name, missing.doc))
                .hint(format!("for example: {}", self.example.lines().next().unwrap_or_default())));
        }
        // `()` for an option is as good as leaving it out, so that scripts can hand parameters on as they are.
        let given = map.into_iter().filter(|(_, value)| !value.is_null()).collect();
        (self.decode)(Value::Object(given))
    }

    /// The error for a key that the primitive does not know.
    pub fn unknown_option(&self, key: &str) -> EffectError {
        let error = self.invalid(format!("`{}` has no option `{key}`", self.name));
        match did_you_mean(key, self.options.iter().map(|option| option.name)) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("it takes {}", self.signature())),
        }
    }

    /// Arguments by position and by map as one map.
    fn collect(&self, args: &[Dynamic]) -> Result<Map<String, Value>, EffectError> {
        let mut map = Map::new();
        let (by_position, by_map) = match args.split_last() {
            Some((last, front)) if self.is_options(last, front.len()) => (front, Some(last)),
            _ => (args, None),
        };
        if by_position.len() > self.positional.len() {
            let surplus = &by_position[self.positional.len()];
            return Err(self.invalid(format!("`{}` takes a map here, not {}", self.name, type_phrase(surplus))));
        }
        for (name, value) in self.positional.iter().zip(by_position) {
            map.insert((*name).to_owned(), self.json(value)?);
        }
        if let Some(Value::Object(options)) = by_map.map(|value| self.json(value)).transpose()? {
            for (key, value) in options {
                if map.insert(key.clone(), value).is_some() {
                    return Err(self.invalid(format!("`{}` got `{key}` twice: by position and in the map", self.name)));
                }
            }
        }
        Ok(map)
    }

    /// Whether the last argument is the map of options, and not a container (a map with `id`) or a value by position.
    fn is_options(&self, last: &Dynamic, before: usize) -> bool {
        let Ok(map) = last.as_map_ref() else { return false };
        if before >= self.positional.len() {
            return true;
        }
        let takes =
            |kind| self.options.iter().any(|option| option.name == self.positional[before] && option.kind == kind);
        let is_container = takes("container") && map.contains_key("id");
        let is_target = takes("target") && (map.contains_key("id") || map.contains_key("address"));
        let is_value = takes("map") && before > 0;
        !is_container && !is_target && !is_value
    }

    fn json(&self, value: &Dynamic) -> Result<Value, EffectError> {
        to_json(value).map_err(|why| self.invalid(format!("`{}`: {why}", self.name)))
    }

    fn invalid(&self, message: String) -> EffectError {
        EffectError::new(ErrorKind::Invalid, message).not_applied()
    }
}

fn decode<R: Request>(args: Value) -> Result<Effect, EffectError> {
    // To follow the path costs as much again: only where there is one to tell.
    if let Ok(request) = R::deserialize(&args) {
        return Ok(request.into());
    }
    serde_path_to_error::deserialize::<_, R>(args).map(Into::into).map_err(|error| {
        let path = error.path().to_string();
        let why = error.inner().to_string();
        let place = if path == "." { String::new() } else { format!(" `{path}`:") };
        EffectError::new(ErrorKind::Invalid, format!("`{}`:{place} {why}", R::KIND)).not_applied()
    })
}
