//! Standard output and standard error: printing, colour, width, reporters.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use console::Term;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, miette};
use textwrap::{WordSeparator, WordSplitter, core::Word};
use tracing_subscriber::EnvFilter;

use super::ShowAs;
use super::command_error::CommandError;
use crate::app::environment;
use crate::report::{DisplayOptions, Format, Output, Reporter, reporter};

/// The width when the terminal does not report one.
const DEFAULT_WIDTH: usize = 100;
/// The limits of a plausible width.
const LEAST_WIDTH: usize = 40;
const MOST_WIDTH: usize = 1_000;

/// Writes the program's own trace to standard error if `DEPLOYER_LOG` is set.
pub fn trace() {
    if let Some(filter) = environment("DEPLOYER_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
        drop(subscriber.try_init());
    }
}

/// Prints a line to standard error. Ignores errors: a closed terminal or a full disk must not stop a deploy.
pub fn say(line: impl Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Prints text to standard output. A closed pipe (`| head`) is not an error.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CommandError::usage(miette!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Returns whether standard error supports colour and `NO_COLOR` is unset (no-color.org).
pub fn colour() -> bool {
    colour_on(&std::io::stderr())
}

/// Returns whether this stream supports colour and `NO_COLOR` is unset.
pub fn colour_on(stream: &impl IsTerminal) -> bool {
    let unset = environment("NO_COLOR").is_none_or(|value| value.is_empty());
    unset && stream.is_terminal() && environment("TERM").is_none_or(|term| term != "dumb")
}

/// Returns the width of the terminal, or the value of `COLUMNS`.
pub fn width() -> usize {
    let given = environment("COLUMNS").and_then(|columns| columns.parse().ok());
    let reported = || Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
    given.or_else(reported).unwrap_or(DEFAULT_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH)
}

/// Returns the reporter for the given format and the terminal. `live`: the run is happening now.
pub fn show(show_as: ShowAs, live: bool) -> Box<dyn Reporter> {
    show_with(show_as, live, false)
}

/// Returns the reporter of a run that is happening now, whose journal is deleted afterwards.
pub fn show_temporary(show_as: ShowAs) -> Box<dyn Reporter> {
    show_with(show_as, true, true)
}

fn show_with(show_as: ShowAs, live: bool, temporary: bool) -> Box<dyn Reporter> {
    let terminal = std::io::stderr().is_terminal() && environment("CI").is_none();
    let format = show_as.format.unwrap_or(if terminal { Format::Pretty } else { Format::Plain });
    let colour = if live { colour() } else { colour_on(&std::io::stdout()) };
    let display =
        DisplayOptions { colour, width: width(), live: live && terminal, verbose: show_as.verbose, temporary };
    // During a run, progress goes to standard error. For a past run it is the requested output.
    let talk: Box<dyn Write + Send> = if live { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    reporter(format, display, Output { data: Box::new(std::io::stdout()), talk })
}

/// Returns a reporter that shows nothing.
pub fn silent() -> Box<dyn Reporter> {
    let display = DisplayOptions { colour: false, width: DEFAULT_WIDTH, live: false, verbose: false, temporary: false };
    reporter(Format::Plain, display, Output { data: Box::new(std::io::sink()), talk: Box::new(std::io::sink()) })
}

/// Renders a diagnostic for standard error.
pub fn render(diagnostic: &dyn Diagnostic) -> String {
    let theme = if colour() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width())
        .with_links(false)
        .with_break_words(false)
        .with_word_separator(WordSeparator::Custom(|line| Box::new(words_and_commands(line).into_iter())))
        .with_word_splitter(WordSplitter::NoHyphenation);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => format!("error: {diagnostic}\n"),
    }
}

/// Splits a line at its spaces, but keeps text in backticks whole: a command that is broken across lines cannot be copied.
fn words_and_commands(line: &str) -> Vec<Word<'_>> {
    let paired = line.matches('`').count().is_multiple_of(2);
    let (mut words, mut start, mut quoted, mut after_space) = (Vec::new(), 0, false, false);
    for (at, letter) in line.char_indices() {
        if after_space && letter != ' ' && !(quoted && paired) {
            words.push(Word::from(&line[start..at]));
            start = at;
        }
        after_space = letter == ' ';
        quoted ^= letter == '`';
    }
    words.push(Word::from(&line[start..]));
    words
}

#[cfg(test)]
mod tests {
    use super::words_and_commands;

    #[test]
    fn a_command_is_one_word() {
        let words = |line| words_and_commands(line).iter().map(|word| word.word.to_owned()).collect::<Vec<_>>();
        assert_eq!(words("type `deployer show a-b` now"), ["type", "`deployer show a-b`", "now"]);
        assert_eq!(words("an `unpaired backtick"), ["an", "`unpaired", "backtick"]);
        assert_eq!(words(""), [""]);
    }
}
