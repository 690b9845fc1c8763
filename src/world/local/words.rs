//! Words of a Dockerfile's line: quotes, `\` and variables. Text to text; knows no instruction.

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Splits a line into words and fills variables in, as Docker does: `$X`, `${X}`, `${X:-else}`, `${X:+then}`;
/// nothing is filled in between single quotes. A variable that is not set is empty.
///
/// # Errors
/// A quote or a brace that is not closed, or a form of variable that Docker has and this does not.
pub fn split(line: &str, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = Letters::new(line);
    while let Some(letter) = letters.next() {
        if letter.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match letter {
            '\'' => loop {
                match letters.next().ok_or("a `'` is not closed")? {
                    '\'' => break,
                    other => word.push(other),
                }
            },
            '"' => loop {
                match letters.next().ok_or("a `\"` is not closed")? {
                    '"' => break,
                    '\\' => match letters.next().ok_or("a `\"` is not closed")? {
                        escaped @ ('"' | '$' | '\\') => word.push(escaped),
                        other => word.extend(['\\', other]),
                    },
                    '$' => word.push_str(&variable(&mut letters, lookup)?),
                    other => word.push(other),
                }
            },
            '\\' => word.extend(letters.next()),
            '$' => word.push_str(&variable(&mut letters, lookup)?),
            other => word.push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Fills variables in and leaves blanks and quotes as they are.
pub fn fill(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut filled = String::new();
    let mut letters = Letters::new(text);
    while let Some(letter) = letters.next() {
        match letter {
            '$' => filled.push_str(&variable(&mut letters, lookup)?),
            '\\' if letters.peek() == Some('$') => filled.extend(letters.next()),
            other => filled.push(other),
        }
    }
    Ok(filled)
}

struct Letters<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl<'a> Letters<'a> {
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
        while let Some(letter) = self.0.next_if(|letter| letter.is_ascii_alphanumeric() || *letter == '_') {
            name.push(letter);
        }
        name
    }
}

/// What follows a `$`.
fn variable(letters: &mut Letters<'_>, lookup: Lookup<'_>) -> Result<String, String> {
    if letters.peek() != Some('{') {
        let name = letters.name();
        return Ok(if name.is_empty() { "$".into() } else { lookup(&name).unwrap_or_default() });
    }
    letters.next();
    let name = letters.name();
    let mut rest = String::new();
    let mut depth = 1;
    while depth > 0 {
        let letter = letters.next().ok_or_else(|| format!("`${{{name}` is not closed"))?;
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        rest.push(letter);
    }
    rest.pop();
    let value = lookup(&name).filter(|value| !value.is_empty());
    if name.is_empty() {
        Err(format!("`${{{rest}}}` names no variable"))
    } else if rest.is_empty() {
        Ok(value.unwrap_or_default())
    } else if let Some(other) = rest.strip_prefix(":-") {
        value.map_or_else(|| fill(other, lookup), Ok)
    } else if let Some(other) = rest.strip_prefix(":+") {
        value.map_or(Ok(String::new()), |_| fill(other, lookup))
    } else {
        Err(format!(
            "`${{{name}{rest}}}` is not understood: use `${{{name}}}`, `${{{name}:-else}}` or `${{{name}:+then}}`"
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
    fn fills_variables_in_where_docker_does() {
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
        assert_eq!(fill("a 'b' $X", &lookup).unwrap(), "a 'b' ex");
    }
}
