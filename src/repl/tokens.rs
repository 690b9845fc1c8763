//! A lexer for highlighting, completion and the detection of incomplete inputs. Accepts any input.

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword.
    Word,
    /// A number.
    Number,
    /// A string or character literal.
    Text {
        /// Whether its closing quote exists.
        closed: bool,
    },
    /// A comment.
    Comment {
        /// Whether it is terminated.
        closed: bool,
    },
    /// Any other character.
    Sign,
}

/// A token: bytes `start..end` of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its kind.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

impl Token {
    /// Returns its text.
    pub fn of<'a>(&self, input: &'a str) -> &'a str {
        input.get(self.start..self.end).unwrap_or_default()
    }
}

/// Returns all tokens, without whitespace.
pub fn tokens(input: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = input.get(at..).and_then(|rest| rest.chars().next()) {
        let (kind, end) = next_token(input, at, c);
        if !c.is_whitespace() {
            found.push(Token { kind, start: at, end });
        }
        at = end;
    }
    found
}

fn next_token(input: &str, at: usize, c: char) -> (Kind, usize) {
    let rest = &input[at..];
    let while_true = |matches: fn(char) -> bool| at + rest.find(|c| !matches(c)).unwrap_or(rest.len());
    match c {
        _ if c.is_alphabetic() || c == '_' => (Kind::Word, while_true(|c| c.is_alphanumeric() || c == '_')),
        _ if c.is_ascii_digit() => (Kind::Number, while_true(|c| c.is_alphanumeric() || c == '_')),
        '"' | '`' | '\'' => {
            let (end, closed) = text_end(input, at, c);
            (Kind::Text { closed }, end)
        }
        '/' if rest.starts_with("//") => (Kind::Comment { closed: true }, at + rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => match rest.find("*/") {
            Some(end) => (Kind::Comment { closed: true }, at + end + 2),
            None => (Kind::Comment { closed: false }, input.len()),
        },
        _ => (Kind::Sign, at + c.len_utf8()),
    }
}

fn text_end(input: &str, start: usize, quote: char) -> (usize, bool) {
    let mut escaped = false;
    for (offset, c) in input[start + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if c == quote => return (start + 1 + offset + 1, true),
            // Only text in backticks can span lines.
            '\n' if quote != '`' => return (start + 1 + offset, true),
            _ => {}
        }
    }
    (input.len(), false)
}

/// Whether the input is complete: no open bracket, text or comment, and no operator without a right operand.
pub fn is_complete(input: &str) -> bool {
    let all = tokens(input);
    let mut open = 0_i32;
    for token in &all {
        match (token.kind, token.of(input)) {
            (Kind::Text { closed: false } | Kind::Comment { closed: false }, _) => return false,
            (Kind::Sign, "(" | "[" | "{") => open += 1,
            (Kind::Sign, ")" | "]" | "}") => open -= 1,
            _ => {}
        }
    }
    // Too many closing brackets are an error that the parser reports.
    open <= 0 && !all.last().is_some_and(|last| matches!(last.of(input), "," | "=" | "+" | "|" | "&" | "." | ":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_incomplete_inputs() {
        for complete in ["1 + 1", "let a = #{ b: [1, 2] };", "fn f(x) {\n x\n}", "\"a(\"", "// (", "}", "", "`a\nb`"] {
            assert!(is_complete(complete), "{complete}");
        }
        for open in ["docker_run(#{", "fn f(x) {", "`a", "/* a", "1 +", "let a =", "[1,", "docker_run(#{name: \"a"] {
            assert!(!is_complete(open), "{open}");
        }
    }

    #[test]
    fn lexes_words_texts_and_signs() {
        let input = "docker_stop(\"wéb\", 10) // now";
        let read: Vec<&str> = tokens(input).iter().map(|token| token.of(input)).collect();
        assert_eq!(read, ["docker_stop", "(", "\"wéb\"", ",", "10", ")", "// now"]);
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(input in "\\PC{0,60}") {
            let mut at = 0;
            for token in tokens(&input) {
                proptest::prop_assert!(token.start >= at && token.end > token.start);
                proptest::prop_assert!(input.is_char_boundary(token.end));
                at = token.end;
            }
            is_complete(&input);
        }
    }
}
