//! What the terminal can bear: colour, width, moving lines.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};

use console::Term;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, miette};
use tracing_subscriber::EnvFilter;

use super::ShowAs;
use super::fault::Fault;
use crate::app::environment;
use crate::report::{Face, Format, Look, Output, face};

/// Columns where nobody can tell.
const DEFAULT_WIDTH: usize = 100;
/// Whoever says less or more means something else.
const LEAST_WIDTH: usize = 40;
const MOST_WIDTH: usize = 1_000;

/// Sends spans and events of the program itself to standard error when `DEPLOYER_LOG` asks for them.
pub fn trace() {
    if let Some(filter) = environment("DEPLOYER_LOG") {
        let subscriber = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
        drop(subscriber.try_init());
    }
}

/// A line of talk. A reader who has left, or a disk that is full, changes nothing of what is done.
pub fn say(line: impl Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Text that was asked for, on standard output. A reader who has left (`| head`) had enough.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fault::usage(miette!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Asks a person, who says yes or something else.
///
/// # Errors
/// When nobody can be asked.
pub fn agrees(question: &str) -> Result<bool, Fault> {
    say(format!("{question} [y/N]"));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read {
        Ok(0) => {
            Err(Fault::usage(miette!(help = "leave `--plan-first` out, or answer `y`", "nobody answers `{question}`")))
        }
        Ok(_) => Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
        Err(error) => Err(Fault::usage(miette!("the answer cannot be read: {error}"))),
    }
}

/// Colour on standard error: a terminal, and nobody asked for none (no-color.org).
pub fn colour() -> bool {
    colour_on(&std::io::stderr())
}

/// Colour on this stream.
pub fn colour_on(stream: &impl IsTerminal) -> bool {
    let unset = environment("NO_COLOR").is_none_or(|value| value.is_empty());
    unset && stream.is_terminal() && environment("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal, or of `COLUMNS`.
pub fn width() -> usize {
    let told = environment("COLUMNS").and_then(|columns| columns.parse().ok());
    let asked = || Term::stderr().size_checked().map(|(_, columns)| usize::from(columns));
    told.or_else(asked).unwrap_or(DEFAULT_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH)
}

/// The face that the arguments and the terminal ask for. `live`: it happens now.
pub fn show(show_as: ShowAs, live: bool) -> Box<dyn Face> {
    let terminal = std::io::stderr().is_terminal() && environment("CI").is_none();
    let format = show_as.format.unwrap_or(if terminal { Format::Pretty } else { Format::Plain });
    let colour = if live { colour() } else { colour_on(&std::io::stdout()) };
    let look = Look { colour, width: width(), live: live && terminal, verbose: show_as.verbose };
    // Of a run that happens the talk is beside the point; of one that is looked at it is what was asked for.
    let talk: Box<dyn Write + Send> = if live { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    face(format, look, Output { data: Box::new(std::io::stdout()), talk })
}

/// A face that shows nothing.
pub fn silent() -> Box<dyn Face> {
    let look = Look { colour: false, width: DEFAULT_WIDTH, live: false, verbose: false };
    face(Format::Plain, look, Output { data: Box::new(std::io::sink()), talk: Box::new(std::io::sink()) })
}

/// A diagnostic as text for standard error.
pub fn render(diagnostic: &dyn Diagnostic) -> String {
    let theme = if colour() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width()).with_links(false);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => format!("error: {diagnostic}\n"),
    }
}
