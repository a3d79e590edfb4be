//! A page of the manual as steps: its blocks of commands, and what people do between them.

/// The first word of a line that is a command to type, so that its block must say what becomes of it.
const COMMANDS: [&str; 20] = [
    "openregister-webhooks",
    "curl",
    "make",
    "docker",
    "podman",
    "sudo",
    "kubectl",
    "psql",
    "pg_dump",
    "cargo",
    "export",
    "pip",
    "npm",
    "npx",
    "apt",
    "apt-get",
    "systemctl",
    "openssl",
    "python3",
    "grep",
];

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) scene: Scene,
    pub(crate) steps: Vec<Step>,
}

/// What there is before the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// The program.
    Bare,
    /// A database with OpenRegister's tables.
    Database,
    /// The sidecar runs, with a webhook, and an event was delivered.
    Running,
}

#[derive(Debug)]
pub(crate) enum Step {
    Block(Block),
    Now { line: usize, action: Action },
}

/// A block of commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line of its first command in the page.
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Why it is not run.
    pub(crate) not_run: Option<String>,
    /// It goes on in a terminal of its own, and is ready when it has printed this.
    pub(crate) terminal: Option<String>,
    pub(crate) types: String,
    pub(crate) exit: i32,
    pub(crate) shows: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) superuser: bool,
    /// It is typed in each of the four terminals.
    pub(crate) each: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Shell,
    /// Commands behind `$ `, with their output.
    Console,
    Sql,
}

/// What people do between blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    WriteObject,
    WaitFor(String),
    End(String),
    /// They turn to the terminal with this name.
    TurnTo(String),
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// A comment for this test that it does not understand, or a block that looks like commands and has no language; with page and line.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut page = Self {
            name: name.to_owned(),
            scene: Scene::Bare,
            steps: Vec::new(),
        };
        let mut said: Vec<&str> = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let failed = |what: String| format!("{name}:{}: {what}", at + 1);
            if let Some(comment) = comment(line) {
                if let Some(scene) = comment.strip_prefix("scene ") {
                    page.scene = Scene::parse(scene).map_err(failed)?;
                } else if let Some(action) = comment.strip_prefix("now ") {
                    let action = Action::parse(action).map_err(failed)?;
                    page.steps.push(Step::Now { line: at + 1, action });
                } else {
                    said.push(comment);
                }
            } else if let Some(language) = line.trim_start().strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let body: Vec<&str> = lines[at + 1..]
                    .iter()
                    .take_while(|line| !line.trim_start().starts_with("```"))
                    .map(|line| line.get(indent..).unwrap_or_default())
                    .collect();
                let directives = std::mem::take(&mut said);
                match Kind::of(language.trim()) {
                    Some(kind) => {
                        let block = Block::new(at + 2, kind, body.join("\n"), &directives).map_err(failed)?;
                        page.steps.push(Step::Block(block));
                    }
                    None if language.trim().is_empty() => unmarked(&body).map_err(failed)?,
                    None => {}
                }
                at += body.len() + 1;
            } else if line.starts_with("    ") && at > 0 && lines[at - 1].trim().is_empty() {
                unmarked(&[line]).map_err(failed)?;
            } else if !line.trim().is_empty() && !said.is_empty() {
                return Err(failed(
                    "a comment for docs-test stands before no block".to_owned(),
                ));
            }
            at += 1;
        }
        Ok(page)
    }
}

/// The text of a comment for this test.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim().strip_prefix("<!-- docs-test:")?;
    Some(text.strip_suffix("-->")?.trim())
}

/// A block without a language must not look like commands.
fn unmarked(body: &[&str]) -> Result<(), String> {
    let words = body.iter().filter_map(|line| {
        line.trim_start()
            .trim_start_matches("$ ")
            .split_whitespace()
            .next()
    });
    match words.into_iter().find(|word| COMMANDS.contains(word)) {
        Some(word) => Err(format!(
            "a block with the command {word} is not marked sh, console or sql"
        )),
        None => Ok(()),
    }
}

/// What stands between the quotes behind a word.
fn quoted(text: &str, word: &str) -> Option<String> {
    let rest = text.strip_prefix(word)?.trim();
    Some(rest.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}

impl Scene {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "database" => Ok(Self::Database),
            "running" => Ok(Self::Running),
            other => Err(format!("{other:?} is no scene")),
        }
    }
}

impl Kind {
    fn of(language: &str) -> Option<Self> {
        match language {
            "sh" | "bash" => Some(Self::Shell),
            "console" => Some(Self::Console),
            "sql" => Some(Self::Sql),
            _ => None,
        }
    }
}

impl Action {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "write an object" {
            return Ok(Self::WriteObject);
        }
        quoted(text, "wait for ")
            .map(Self::WaitFor)
            .or_else(|| quoted(text, "end ").map(Self::End))
            .or_else(|| quoted(text, "in ").map(Self::TurnTo))
            .ok_or_else(|| format!("{text:?} is nothing that can be done"))
    }
}

impl Block {
    fn new(line: usize, kind: Kind, text: String, directives: &[&str]) -> Result<Self, String> {
        let mut block = Self {
            line,
            kind,
            text,
            not_run: None,
            terminal: None,
            types: String::new(),
            exit: 0,
            shows: None,
            until: None,
            superuser: false,
            each: false,
        };
        for directive in directives {
            if let Some(reason) = directive.strip_prefix("not run: ") {
                block.not_run = Some(reason.to_owned());
            } else if let Some(text) = quoted(directive, "terminal until ") {
                block.terminal = Some(text);
            } else if let Some(text) = quoted(directive, "types ") {
                block.types = text + "\n";
            } else if let Some(text) = quoted(directive, "shows ") {
                block.shows = Some(text);
            } else if let Some(text) = quoted(directive, "until ") {
                block.until = Some(text);
            } else if let Some(code) = directive.strip_prefix("exit ") {
                block.exit = code.parse().map_err(|_| format!("{code:?} is no exit code"))?;
            } else if *directive == "as the superuser" {
                block.superuser = true;
            } else if *directive == "in each terminal" {
                block.each = true;
            } else {
                return Err(format!("docs-test does not know {directive:?}"));
            }
        }
        Ok(block)
    }
}

#[test]
fn a_page_is_read_as_steps() {
    let text = "<!-- docs-test: scene running -->\n# T\n\n<!-- docs-test: types \"a b\" -->\n<!-- docs-test: exit 3 -->\n```sh\none\n```\n\n\
                <!-- docs-test: now end \"run\" -->\n```json\n{}\n```\n<!-- docs-test: not run: needs docker -->\n```sh\ndocker ps\n```\n";
    let page = Page::parse("x.md", text).unwrap();
    assert_eq!((page.scene, page.steps.len()), (Scene::Running, 3));
    let Step::Block(block) = &page.steps[0] else {
        panic!("{page:?}")
    };
    assert_eq!(
        (block.line, block.text.as_str(), block.types.as_str(), block.exit),
        (7, "one", "a b\n", 3)
    );
    let Step::Block(block) = &page.steps[2] else {
        panic!("{page:?}")
    };
    assert_eq!(block.not_run.as_deref(), Some("needs docker"));
    for wrong in [
        "<!-- docs-test: nonsense -->\n```sh\nx\n```\n",
        "<!-- docs-test: exit 1 -->\ntext\n",
        "```\ncurl x\n```\n",
        "text\n\n    $ openregister-webhooks run\n",
        "<!-- docs-test: now dance -->\n",
    ] {
        assert!(
            Page::parse("x.md", wrong).unwrap_err().starts_with("x.md:"),
            "{wrong}"
        );
    }
}
