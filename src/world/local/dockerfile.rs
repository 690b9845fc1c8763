//! Reads a Dockerfile into its instructions, with the line that each begins on. Knows no meaning of any.

use crate::effect::{EffectError, ErrorKind};

/// One instruction: a keyword and what follows it, continuation lines joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// In capitals.
    pub keyword: String,
    pub rest: String,
    pub place: Place,
}

/// Where an instruction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
}

impl Place {
    pub fn invalid(&self, what: impl std::fmt::Display) -> EffectError {
        EffectError::new(ErrorKind::Invalid, format!("{}:{}: {what}", self.file, self.line)).not_applied()
    }

    pub fn unsupported(&self, what: impl std::fmt::Display) -> EffectError {
        EffectError::new(ErrorKind::Unsupported, format!("{}:{}: {what}", self.file, self.line))
            .hint("take the instruction out, or deploy with `--engine docker`")
            .not_applied()
    }
}

impl Instruction {
    /// The list of a JSON form such as `["a", "b"]`; none if it is not one.
    pub fn json(&self) -> Option<Vec<String>> {
        if self.rest.starts_with('[') { serde_json::from_str(&self.rest).ok() } else { None }
    }

    /// The flags `--name=value` at the beginning, and the rest.
    pub fn flags(&self) -> (Vec<(&str, &str)>, &str) {
        let mut flags = Vec::new();
        let mut rest = self.rest.as_str();
        while let Some(after) = rest.strip_prefix("--") {
            let (flag, behind) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
            flags.push(flag.split_once('=').unwrap_or((flag, "")));
            rest = behind.trim_start();
        }
        (flags, rest)
    }
}

/// Splits the text of `file` into instructions.
///
/// # Errors
/// `invalid`, with the line, for a keyword without anything behind it.
pub fn read(file: &str, text: &str) -> Result<Vec<Instruction>, EffectError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut instructions = Vec::new();
    let mut pending: Option<(String, Place)> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        // Comments and blank lines do not end a continued instruction.
        if trimmed.starts_with('#') || trimmed.is_empty() {
            if pending.is_none() {
                check_directive(trimmed, &Place { file: file.into(), line: index + 1 })?;
            }
            continue;
        }
        let (so_far, place) =
            pending.take().unwrap_or_else(|| (String::new(), Place { file: file.into(), line: index + 1 }));
        match trimmed.strip_suffix('\\') {
            Some(part) => pending = Some((format!("{so_far}{part}"), place)),
            None => instructions.push(instruction(&format!("{so_far}{trimmed}"), place)?),
        }
    }
    if let Some((text, place)) = pending {
        instructions.push(instruction(&text, place)?);
    }
    Ok(instructions)
}

fn check_directive(comment: &str, place: &Place) -> Result<(), EffectError> {
    let escape = comment.trim_start_matches('#').trim().strip_prefix("escape=");
    match escape {
        Some(other) if other.trim() != "\\" => {
            Err(place.unsupported(format!("`# escape={other}`: only `\\` is known here")))
        }
        _ => Ok(()),
    }
}

fn instruction(text: &str, place: Place) -> Result<Instruction, EffectError> {
    let text = text.trim();
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (keyword, rest) = (keyword.to_ascii_uppercase(), rest.trim().to_owned());
    if rest.is_empty() {
        return Err(place.invalid(format!("`{keyword}` has nothing behind it")));
    }
    Ok(Instruction { keyword, rest, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_lines_and_keeps_their_number() {
        let text = "# syntax=docker/dockerfile:1\nFROM scratch\n\nenv A=1 \\\n  # why\n\n    B=2\nCMD [\"x\", \"y\"]\n";
        let read = read("Dockerfile", text).unwrap();
        let seen: Vec<(usize, &str, &str)> =
            read.iter().map(|i| (i.place.line, i.keyword.as_str(), i.rest.as_str())).collect();
        assert_eq!(seen, [(2, "FROM", "scratch"), (4, "ENV", "A=1 B=2"), (8, "CMD", "[\"x\", \"y\"]")]);
        assert_eq!(read[2].json().unwrap(), ["x", "y"]);
    }

    #[test]
    fn tells_the_line_of_a_fault() {
        let error = read("web/Dockerfile", "FROM scratch\n\nCMD\n").unwrap_err();
        assert_eq!(error.message, "web/Dockerfile:3: `CMD` has nothing behind it");
        assert!(read("Dockerfile", "# escape=`\nFROM scratch\n").is_err());
    }

    #[test]
    fn takes_flags_off() {
        let read = read("Dockerfile", "COPY --chmod=755 --link a b\n").unwrap();
        assert_eq!(read[0].flags(), (vec![("chmod", "755"), ("link", "")], "a b"));
    }
}
