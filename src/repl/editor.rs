//! The session at a terminal: several lines, colours, completion, hints, history. Talks to the line editor; all that
//! it offers comes from the modules beside it.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, FileBackedHistory, Highlighter, Hinter, History, HistoryItem,
    HistoryItemId, HistorySessionId, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch,
    Reedline, ReedlineEvent, ReedlineMenu, SearchQuery, Signal, Span, StyledText, Suggestion, ValidationResult,
    Validator, default_emacs_keybindings,
};

use super::completion::{Known, complete, signature};
use super::history::may_keep;
use super::names::KnownNames;
use super::session::{Answer, Session};
use super::tokens::{Kind, is_whole, tokens};
use crate::base::vault::Vault;
use crate::script::catalogue::catalogue;
use crate::script::control::WORDS;

/// Inputs that are remembered.
const REMEMBERED: usize = 2_000;
const MENU: &str = "completion";

/// Names that inputs made, shared with the completer.
type Made = Arc<RwLock<(Vec<String>, Vec<String>)>>;

/// Takes inputs until the person ends the session. `history` is the file of former inputs; none keeps none.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(session: &mut Session, history: Option<&Path>, out: &mut dyn Write) -> Result<(), String> {
    let made = Made::default();
    let mut editor = editor(session, history, &made)?;
    let prompt = Words { place: session.opening().run.header.engine.clone() };
    session.refresh_names();
    loop {
        match editor.read_line(&prompt) {
            Ok(Signal::Success(input)) if input.trim().is_empty() => {}
            Ok(Signal::Success(input)) => {
                match session.take(&input) {
                    Answer::Shown(text) | Answer::Failed(text) => drop(out.write_all(text.as_bytes())),
                    Answer::Quit => return Ok(()),
                }
                drop(out.flush());
                let names = (session.evaluator().variables(), session.evaluator().functions());
                *made.write().unwrap_or_else(PoisonError::into_inner) = names;
                if session.opening().interrupt.is_ending() {
                    return Ok(());
                }
            }
            // A line that is given up, not the session.
            Ok(Signal::CtrlC) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(format!("the terminal cannot be used: {error}")),
        }
    }
}

fn editor(session: &Session, history: Option<&Path>, made: &Made) -> Result<Reedline, String> {
    let opening = session.opening();
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let vault = opening.run.gateway.ledger().vault().clone();
    let kept = match history {
        Some(path) => FileBackedHistory::with_file(REMEMBERED, path.to_owned())
            .map_err(|error| format!("the history `{}` cannot be used: {error}", path.display()))?,
        None => FileBackedHistory::new(REMEMBERED).map_err(|error| error.to_string())?,
    };
    let completer = Offers { names: session.names.clone(), made: made.clone() };
    let menu = ColumnarMenu::default().with_name(MENU).with_marker("| ");
    Ok(Reedline::create()
        .with_history(Box::new(WithoutSecrets { kept, vault }))
        .with_completer(Box::new(completer))
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(Whole))
        .with_highlighter(Box::new(Colours))
        .with_hinter(Box::new(Hints::default()))
        .with_ansi_colors(opening.look.colour)
        .with_break_signal(opening.interrupt.ending()))
}

struct Words {
    place: String,
}

impl Prompt for Words {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.place)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed(". ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search `{}`) ", search.term))
    }
}

struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.trim_start().starts_with(':') || is_whole(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct Offers {
    names: KnownNames,
    made: Made,
}

impl Completer for Offers {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let names = self.names.get();
        let made = self.made.read().unwrap_or_else(PoisonError::into_inner);
        let known = Known { names: &names, variables: &made.0, functions: &made.1 };
        let offers = complete(line, pos, known).into_iter().map(|candidate| Suggestion {
            value: candidate.value,
            description: Some(candidate.note).filter(|note| !note.is_empty()),
            span: Span::new(candidate.start, candidate.end),
            ..Suggestion::default()
        });
        CompletionResult::fresh(offers.collect::<Vec<_>>())
    }
}

struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        let mut at = 0;
        for token in tokens(line) {
            text.push((Style::new(), line[at..token.start].to_owned()));
            let word = token.of(line);
            let style = match token.kind {
                Kind::Word if catalogue().contains_key(word) => Style::new().fg(Color::Cyan).bold(),
                Kind::Word if WORDS.iter().any(|known| known.name == word) => Style::new().fg(Color::Magenta),
                Kind::Text { .. } => Style::new().fg(Color::Green),
                Kind::Number => Style::new().fg(Color::Yellow),
                Kind::Comment { .. } => Style::new().dimmed(),
                Kind::Word | Kind::Sign => Style::new(),
            };
            text.push((style, word.to_owned()));
            at = token.end;
        }
        text.push((Style::new(), line[at..].to_owned()));
        text
    }
}

/// The signature of the call that is being typed; else the rest of a former input that began so.
#[derive(Default)]
struct Hints {
    /// What the right arrow takes over: of history alone, for a signature is no input.
    takes: String,
}

impl Hinter for Hints {
    fn handle(&mut self, line: &str, pos: usize, history: &dyn History, colour: bool, _: &str) -> String {
        self.takes.clear();
        if line.trim().is_empty() || pos != line.len() {
            return String::new();
        }
        let hint = signature(line).unwrap_or_else(|| {
            let query = SearchQuery::last_with_prefix(line.to_owned(), None);
            let found = history.search(query).ok().and_then(|found| found.into_iter().next());
            self.takes =
                found.and_then(|item| item.command_line.get(line.len()..).map(str::to_owned)).unwrap_or_default();
            self.takes.clone()
        });
        if colour { Style::new().dimmed().paint(hint).to_string() } else { hint }
    }

    fn complete_hint(&self) -> String {
        self.takes.clone()
    }

    fn next_hint_token(&self) -> String {
        self.takes.split_inclusive(' ').next().unwrap_or_default().to_owned()
    }
}

/// History on disk, less what holds a secret.
struct WithoutSecrets {
    kept: FileBackedHistory,
    vault: Arc<Vault>,
}

impl History for WithoutSecrets {
    fn save(&mut self, item: HistoryItem) -> reedline::Result<HistoryItem> {
        if may_keep(&item.command_line, &self.vault) { self.kept.save(item) } else { Ok(item) }
    }

    fn load(&self, id: HistoryItemId) -> reedline::Result<HistoryItem> {
        self.kept.load(id)
    }

    fn count(&self, query: SearchQuery) -> reedline::Result<i64> {
        self.kept.count(query)
    }

    fn search(&self, query: SearchQuery) -> reedline::Result<Vec<HistoryItem>> {
        self.kept.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> reedline::Result<()> {
        self.kept.update(id, updater)
    }

    fn clear(&mut self) -> reedline::Result<()> {
        self.kept.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> reedline::Result<()> {
        self.kept.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.kept.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.kept.session()
    }
}
