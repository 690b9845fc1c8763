//! Patterns over paths as Dockerfiles and `.dockerignore` files write them: `*`, `?`, `[a-z]`, `**`.
//! Matches text only; never looks at a file system.

/// A pattern over a whole relative path.
#[derive(Clone, Debug)]
pub struct PathPattern(Vec<Token>);

#[derive(Clone, Debug)]
enum Token {
    Letter(char),
    /// `?`
    AnyLetter,
    /// `*`
    WithinName,
    /// `**` at the end, or not followed by a slash.
    Anything,
    /// `**/`: any number of folders, also none.
    AnyFolders,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl PathPattern {
    /// # Errors
    /// When a `[` is not closed or the text ends with `\`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '*' if letters.next_if_eq(&'*').is_some() => {
                    while letters.next_if_eq(&'*').is_some() {}
                    if letters.next_if_eq(&'/').is_some() { Token::AnyFolders } else { Token::Anything }
                }
                '*' => Token::WithinName,
                '?' => Token::AnyLetter,
                '[' => class(&mut letters).ok_or_else(|| format!("`{text}` has a `[` without its `]`"))?,
                '\\' => Token::Letter(letters.next().ok_or_else(|| format!("`{text}` ends with `\\`"))?),
                other => Token::Letter(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether the pattern covers the whole of `path`.
    pub fn matches(&self, path: &str) -> bool {
        let text: Vec<char> = path.chars().collect();
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for token in &self.0 {
            reached = step(token, &text, &reached);
        }
        reached[text.len()]
    }
}

/// The places that a token leads to from the places reached so far: time grows with pattern times text, never worse.
fn step(token: &Token, text: &[char], reached: &[bool]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    let one = |fits: &dyn Fn(char) -> bool, next: &mut Vec<bool>| {
        for (at, letter) in text.iter().enumerate() {
            next[at + 1] = reached[at] && fits(*letter);
        }
    };
    match token {
        Token::Letter(wanted) => one(&|letter| letter == *wanted, &mut next),
        Token::AnyLetter => one(&|letter| letter != '/', &mut next),
        Token::Class { negated, ranges } => one(
            &|letter| letter != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter)) != *negated,
            &mut next,
        ),
        Token::WithinName | Token::Anything | Token::AnyFolders => {
            let mut open = false;
            for at in 0..reached.len() {
                let after_slash = at > 0 && text[at - 1] == '/';
                if after_slash && matches!(token, Token::WithinName) {
                    open = false;
                }
                let carried = open && (after_slash || !matches!(token, Token::AnyFolders));
                next[at] = reached[at] || carried;
                open |= reached[at];
            }
        }
    }
    next
}

fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = letters.next_if(|letter| matches!(letter, '^' | '!')).is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match letters.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            '\\' => letters.next()?,
            other => other,
        };
        let high = if letters.next_if_eq(&'-').is_some() { letters.next()? } else { low };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_docker_does() {
        for (pattern, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "x/a.py", false),
            ("**/*.py", "a.py", true),
            ("**/*.py", "x/y/a.py", true),
            ("**/*.py", "x/y/a.pyc", false),
            ("x/**", "x/a/b", true),
            ("x/**", "xa", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/bz", false),
            ("?.txt", "a.txt", true),
            ("?.txt", "ab.txt", false),
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("[^a-c].txt", "z.txt", true),
            (r"\*.txt", "*.txt", true),
            (r"\*.txt", "a.txt", false),
            ("{a,b}", "a", false),
            ("**", "anything/at/all", true),
            ("*", ".hidden", true),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
        }
        assert!(PathPattern::parse("[a").is_err());
        assert!(PathPattern::parse("a\\").is_err());
    }

    #[test]
    fn many_stars_end_soon() {
        let pattern = PathPattern::parse(&"*a".repeat(60)).unwrap();
        assert!(!pattern.matches(&"a".repeat(2_000).replace("aaaa", "aaab").replace('a', "b")));
    }
}
