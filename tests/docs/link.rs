//! The links and headings of a Markdown page.

/// One link or image.
#[derive(Debug, PartialEq)]
pub struct Link {
    /// Its line, from 1.
    pub line: usize,
    pub target: String,
}

impl Link {
    pub fn is_external(&self) -> bool {
        ["http://", "https://", "mailto:"].iter().any(|scheme| self.target.starts_with(scheme))
    }
}

/// One heading.
#[derive(Debug, PartialEq)]
pub struct Heading {
    pub depth: usize,
    /// The fragment of links to it, on GitHub and in mdBook.
    pub anchor: String,
}

/// Returns the lines outside code blocks, with their numbers from 1.
fn prose(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    (1..).zip(markdown.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// Replaces inline code in a line.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, piece)| if index % 2 == 0 { piece } else { "x" }).collect()
}

pub fn links(markdown: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(markdown) {
        let text = without_code(text);
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default().to_owned();
            links.push(Link { line, target });
        }
    }
    links
}

pub fn headings(markdown: &str) -> Vec<Heading> {
    let heading = |line: &str| {
        let depth = line.chars().take_while(|c| *c == '#').count();
        let title = line[depth..].strip_prefix(' ').filter(|_| depth > 0)?;
        Some(Heading { depth, anchor: anchor(title) })
    };
    prose(markdown).filter_map(|(_, line)| heading(line)).collect()
}

fn anchor(title: &str) -> String {
    let convert = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
        _ => None,
    };
    title.trim().to_lowercase().chars().filter_map(convert).collect()
}

#[test]
fn links_and_headings_are_found_outside_code() {
    let page = "# A `b.c`: d\n\n[x](y.md#z) and `[no](code)`\n```sh\n# not a heading [no](n)\n```\n![i](j.svg)\n";
    let link = |line, target: &str| Link { line, target: target.to_owned() };
    assert_eq!(links(page), [link(3, "y.md#z"), link(7, "j.svg")]);
    assert_eq!(headings(page), [Heading { depth: 1, anchor: "a-bc-d".to_owned() }]);
}
