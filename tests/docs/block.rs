//! The fenced code blocks of a Markdown page.

/// One code block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    pub language: String,
    /// The words after the language.
    pub marks: Vec<String>,
    pub text: String,
}

impl Block {
    pub fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|given| given == mark)
    }

    /// Returns the value of a mark `NAME=VALUE`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns whether a reader types the block. Installations and examples are only shown.
    pub fn is_typed(&self) -> bool {
        self.language == "sh" && !self.has("install") && !self.has("example")
    }
}

/// Returns the code blocks of a page, in order.
#[track_caller]
pub fn blocks(page: &str, markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (line, text) in (1..).zip(markdown.lines()) {
        match (text.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_else(|| panic!("{page}:{line}: a block without a language"));
                open = Some(Block { line, language, marks: words.collect(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{text}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block is never closed: {open:?}");
    blocks
}
