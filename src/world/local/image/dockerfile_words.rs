//! Splits Dockerfile lines into words: quotes, `\` and variables. Works on text; knows no instruction.

/// Returns the value of a variable.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Splits a line into words and expands variables, as Docker does: `$X`, `${X}`, `${X:-else}`, `${X:+then}`. Nothing is
/// expanded in single quotes. An unset variable is empty.
///
/// # Errors
/// Returns a message for a quote or brace that is not closed, and for variable forms that are not supported.
pub(crate) fn split(line: &str, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut reader = WordReader::new(line);
    while let Some(c) = reader.next() {
        if c.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match c {
            '\'' => loop {
                match reader.next().ok_or("a `'` is not closed")? {
                    '\'' => break,
                    other => word.push(other),
                }
            },
            '"' => loop {
                match reader.next().ok_or("a `\"` is not closed")? {
                    '"' => break,
                    '\\' => match reader.next().ok_or("a `\"` is not closed")? {
                        escaped @ ('"' | '$' | '\\') => word.push(escaped),
                        other => word.extend(['\\', other]),
                    },
                    '$' => word.push_str(&variable(&mut reader, lookup)?),
                    other => word.push(other),
                }
            },
            '\\' => word.extend(reader.next()),
            '$' => word.push_str(&variable(&mut reader, lookup)?),
            other => word.push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Expands variables and leaves spaces and quotes as they are.
///
/// # Errors
/// Returns a message for a brace that is not closed, and for variable forms that are not supported.
pub(crate) fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expanded = String::new();
    let mut reader = WordReader::new(text);
    while let Some(c) = reader.next() {
        match c {
            '$' => expanded.push_str(&variable(&mut reader, lookup)?),
            '\\' if reader.peek() == Some('$') => expanded.extend(reader.next()),
            other => expanded.push(other),
        }
    }
    Ok(expanded)
}

struct WordReader<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl<'a> WordReader<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.chars().peekable())
    }

    fn next(&mut self) -> Option<char> {
        self.0.next()
    }

    fn peek(&mut self) -> Option<char> {
        self.0.peek().copied()
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.0.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

/// Expands the variable after a `$`.
fn variable(reader: &mut WordReader<'_>, lookup: Lookup<'_>) -> Result<String, String> {
    if reader.peek() != Some('{') {
        let name = reader.name();
        return Ok(if name.is_empty() { "$".into() } else { lookup(&name).unwrap_or_default() });
    }
    reader.next();
    let name = reader.name();
    let mut rest = String::new();
    let mut depth = 1;
    while depth > 0 {
        let c = reader.next().ok_or_else(|| format!("`${{{name}` is not closed"))?;
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        rest.push(c);
    }
    rest.pop();
    let value = lookup(&name).filter(|value| !value.is_empty());
    if name.is_empty() {
        Err(format!("`${{{rest}}}` names no variable"))
    } else if rest.is_empty() {
        Ok(value.unwrap_or_default())
    } else if let Some(other) = rest.strip_prefix(":-") {
        value.map_or_else(|| expand(other, lookup), Ok)
    } else if let Some(other) = rest.strip_prefix(":+") {
        value.map_or(Ok(String::new()), |_| expand(other, lookup))
    } else {
        Err(format!(
            "`${{{name}{rest}}}` is not supported: use `${{{name}}}`, `${{{name}:-else}}` or `${{{name}:+then}}`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "X" => Some("ex".into()),
            "PORT" => Some("5000".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn expands_variables_as_docker_does() {
        for (line, words) in [
            ("a  b", vec!["a", "b"]),
            ("$X${X}x", vec!["exexx"]),
            ("${NO:-y} ${X:-y} ${EMPTY:-$X} ${X:+set} ${NO:+set}", vec!["y", "ex", "ex", "set", ""]),
            (r#""a $X b" '$X'"#, vec!["a ex b", "$X"]),
            (r#"\$X a\ b "\"q\"""#, vec!["$X", "a b", "\"q\""]),
            ("$NO end", vec!["", "end"]),
            ("5$ $", vec!["5$", "$"]),
            ("${NO:-${X:-z}}", vec!["ex"]),
        ] {
            assert_eq!(split(line, &lookup).unwrap(), words, "{line}");
        }
        for line in ["'a", "\"a", "${X", "${X:?no}", "${}", "${X%%a}"] {
            assert!(split(line, &lookup).is_err(), "{line}");
        }
        assert_eq!(expand("a 'b' $X", &lookup).unwrap(), "a 'b' ex");
    }
}
