//! The session at a terminal: multi-line inputs, highlighting, completion, hints and history. Connects the line editor to
//! the other modules.

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

use super::completion::{CompletionNames, complete, signature};
use super::engine_names::NameCache;
use super::history::may_store;
use super::session::{InputResult, Session};
use super::tokens::{Kind, is_complete, tokens};
use crate::base::vault::Vault;
use crate::script::catalogue::catalogue;
use crate::script::control_function::CONTROL_FUNCTIONS;

/// Maximum number of inputs in the history.
const HISTORY_SIZE: usize = 2_000;
const MENU: &str = "completion";

/// Variables and functions of the session, shared with the completer.
type SharedNames = Arc<RwLock<(Vec<String>, Vec<String>)>>;

/// Handles inputs until the user ends the session. `history` is the file of earlier inputs; `None` keeps them in memory.
///
/// # Errors
/// Fails if the terminal cannot be used.
pub fn run(session: &mut Session, history: Option<&Path>, out: &mut dyn Write) -> Result<(), String> {
    let session_names = SharedNames::default();
    let mut editor = editor(session, history, &session_names)?;
    let prompt = SessionPrompt { engine: session.options().run.header.engine.clone() };
    session.refresh_names();
    loop {
        match editor.read_line(&prompt) {
            Ok(Signal::Success(input)) if input.trim().is_empty() => {}
            Ok(Signal::Success(input)) => {
                match session.handle(&input) {
                    InputResult::Output(text) | InputResult::Error(text) => drop(out.write_all(text.as_bytes())),
                    InputResult::Quit => return Ok(()),
                }
                drop(out.flush());
                let names = (session.evaluator().variables(), session.evaluator().functions());
                *session_names.write().unwrap_or_else(PoisonError::into_inner) = names;
                if session.options().interrupt.is_ending() {
                    return Ok(());
                }
            }
            // Discards the line, not the session.
            Ok(Signal::CtrlC) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(format!("the terminal cannot be used: {error}")),
        }
    }
}

fn editor(session: &Session, history: Option<&Path>, session_names: &SharedNames) -> Result<Reedline, String> {
    let options = session.options();
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let vault = options.run.gateway.ledger().vault().clone();
    let inner = match history {
        Some(path) => FileBackedHistory::with_file(HISTORY_SIZE, path.to_owned())
            .map_err(|error| format!("the history `{}` cannot be used: {error}", path.display()))?,
        None => FileBackedHistory::new(HISTORY_SIZE).map_err(|error| error.to_string())?,
    };
    let completer = SessionCompleter { names: session.names.clone(), session_names: session_names.clone() };
    let menu = ColumnarMenu::default().with_name(MENU).with_marker("| ");
    Ok(Reedline::create()
        .with_history(Box::new(FilteredHistory { inner, vault }))
        .with_completer(Box::new(completer))
        .with_partial_completions(true)
        .with_quick_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_validator(Box::new(InputValidator))
        .with_highlighter(Box::new(ScriptHighlighter))
        .with_hinter(Box::new(CallHinter::default()))
        .with_ansi_colors(options.style.colour)
        .with_break_signal(options.interrupt.ending()))
}

struct SessionPrompt {
    engine: String,
}

impl Prompt for SessionPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.engine)
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

struct InputValidator;

impl Validator for InputValidator {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.trim_start().starts_with(':') || is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct SessionCompleter {
    names: NameCache,
    session_names: SharedNames,
}

impl Completer for SessionCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let names = self.names.get();
        let session_names = self.session_names.read().unwrap_or_else(PoisonError::into_inner);
        let known = CompletionNames { names: &names, variables: &session_names.0, functions: &session_names.1 };
        let offers = complete(line, pos, known).into_iter().map(|candidate| Suggestion {
            value: candidate.value,
            description: Some(candidate.note).filter(|note| !note.is_empty()),
            span: Span::new(candidate.start, candidate.end),
            ..Suggestion::default()
        });
        CompletionResult::fresh(offers.collect::<Vec<_>>())
    }
}

struct ScriptHighlighter;

impl Highlighter for ScriptHighlighter {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        let mut at = 0;
        for token in tokens(line) {
            text.push((Style::new(), line[at..token.start].to_owned()));
            let word = token.of(line);
            let style = match token.kind {
                Kind::Word if catalogue().contains_key(word) => Style::new().fg(Color::Cyan).bold(),
                Kind::Word if CONTROL_FUNCTIONS.iter().any(|known| known.name == word) => {
                    Style::new().fg(Color::Magenta)
                }
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

/// Shows the signature of the call being typed, or else the rest of an earlier input with the same start.
#[derive(Default)]
struct CallHinter {
    /// What the right arrow inserts: only text from the history, since a signature is not an input.
    insertion: String,
}

impl Hinter for CallHinter {
    fn handle(&mut self, line: &str, pos: usize, history: &dyn History, colour: bool, _: &str) -> String {
        self.insertion.clear();
        if line.trim().is_empty() || pos != line.len() {
            return String::new();
        }
        let hint = signature(line).unwrap_or_else(|| {
            let query = SearchQuery::last_with_prefix(line.to_owned(), None);
            let found = history.search(query).ok().and_then(|found| found.into_iter().next());
            self.insertion =
                found.and_then(|item| item.command_line.get(line.len()..).map(str::to_owned)).unwrap_or_default();
            self.insertion.clone()
        });
        if colour { Style::new().dimmed().paint(hint).to_string() } else { hint }
    }

    fn complete_hint(&self) -> String {
        self.insertion.clone()
    }

    fn next_hint_token(&self) -> String {
        self.insertion.split_inclusive(' ').next().unwrap_or_default().to_owned()
    }
}

/// A history without inputs that contain secrets.
struct FilteredHistory {
    inner: FileBackedHistory,
    vault: Arc<Vault>,
}

impl History for FilteredHistory {
    fn save(&mut self, item: HistoryItem) -> reedline::Result<HistoryItem> {
        if may_store(&item.command_line, &self.vault) { self.inner.save(item) } else { Ok(item) }
    }

    fn load(&self, id: HistoryItemId) -> reedline::Result<HistoryItem> {
        self.inner.load(id)
    }

    fn count(&self, query: SearchQuery) -> reedline::Result<i64> {
        self.inner.count(query)
    }

    fn search(&self, query: SearchQuery) -> reedline::Result<Vec<HistoryItem>> {
        self.inner.search(query)
    }

    fn update(&mut self, id: HistoryItemId, updater: &dyn Fn(HistoryItem) -> HistoryItem) -> reedline::Result<()> {
        self.inner.update(id, updater)
    }

    fn clear(&mut self) -> reedline::Result<()> {
        self.inner.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> reedline::Result<()> {
        self.inner.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.inner.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.inner.session()
    }
}
