//! The rules of the house that a compiler does not check: imports point down only, `unsafe` stays where it was let in, the core
//! knows nothing of Python, and functions and files do not grow.
//!
//! The sources are read as tokens, with comments and literals blanked out; that is all the Rust that this test knows.

use std::path::{Path, PathBuf};

/// The layers, lowest first, and what each may name besides itself. A path to anything else at the root is refused, so nobody
/// gets around this through the re-exports of `lib.rs`.
const LAYERS: [(&str, &[&str]); 8] = [
    ("error", &[]),
    ("runtime", &["error"]),
    ("simd", &["error"]),
    ("storage", &["runtime", "error"]),
    ("kernel", &["simd", "error"]),
    ("vectors", &["kernel", "simd", "runtime", "error"]),
    ("index", &["vectors", "kernel", "simd", "runtime", "storage", "error"]),
    ("store", &["index", "vectors", "kernel", "simd", "runtime", "storage", "error"]),
];

/// What the root itself has that every layer may name.
const ROOT_ITEMS: [&str; 1] = ["MAX_DIM"];

/// Where `unsafe` may stand: a folder, or a file.
const UNSAFE: [&str; 8] = [
    "simd/",
    "kernel/",
    "vectors/matrix/",
    "vectors/cell/",
    "vectors/plane/heads.rs",
    "storage/vfs/file.rs",
    "index/scan.rs",
    "index/hnsw/ground/",
];

/// Lines of the longest function and of the longest file, and what we aim at. The first two may only go down.
const LONGEST_FUNCTION: usize = 50;
const LONGEST_FILE: usize = 401;
const AIM_FUNCTION: usize = 50;
const AIM_FILE: usize = 400;

/// One source file of the core.
struct Source {
    /// Relative to `src/`, with forward slashes.
    path: String,
    lines: usize,
    tokens: Vec<Token>,
}

/// A word, `::`, or one character of punctuation.
struct Token {
    text: String,
    line: usize,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[expect(clippy::disallowed_methods, reason = "this test reads the sources")]
fn sources() -> Vec<Source> {
    let root = root().join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                sources.push(Source::new(name_of(&path, &root), &text));
            }
        }
    }
    assert!(sources.len() > 20, "found only {} files in {}", sources.len(), root.display());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn name_of(path: &Path, root: &Path) -> String {
    let parts = path.strip_prefix(root).expect("below src").iter();
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

impl Source {
    fn new(path: String, text: &str) -> Source {
        Source { path, lines: text.lines().count(), tokens: tokens(&blanked(text)) }
    }

    /// The layer it belongs to; `lib` is the facade.
    fn layer(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// How deep below the crate root its module is.
    fn depth(&self) -> usize {
        let names = self.path.trim_end_matches(".rs").split('/');
        names.filter(|name| !matches!(*name, "mod" | "lib")).count()
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// The names at the crate root that its paths begin with, and their lines.
    fn root_names(&self) -> Vec<(usize, String)> {
        let mut names = Vec::new();
        // Whether each open brace belongs to an inline module: `super` climbs out of those too.
        let mut braces = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => braces.push(at >= 2 && self.text(at - 2) == "mod"),
                "}" => drop(braces.pop()),
                "crate" if self.text(at + 1) == "::" => self.resolve(at + 2, 0, &mut names),
                "super" if at == 0 || self.text(at - 1) != "::" => {
                    let depth = self.depth() + braces.iter().filter(|&&module| module).count();
                    self.resolve(at, depth, &mut names);
                }
                _ => {}
            }
        }
        names
    }

    /// Follows the path that begins at `at`, in a module `depth` below the root.
    fn resolve(&self, at: usize, depth: usize, names: &mut Vec<(usize, String)>) {
        match self.text(at) {
            "super" => self.resolve(at + 2, depth.saturating_sub(1), names),
            "{" => {
                let close = self.closing(at, "{", "}");
                let mut nested = 0;
                for inside in at..close {
                    match self.text(inside) {
                        "{" => nested += 1,
                        "}" => nested -= 1,
                        _ => {}
                    }
                    let starts = inside == at || self.text(inside) == ",";
                    if starts && nested == 1 && inside + 1 < close {
                        self.resolve(inside + 1, depth, names);
                    }
                }
            }
            name if depth == 0 => names.push((self.tokens[at].line, name.to_owned())),
            _ => {}
        }
    }

    /// Where the bracket at `open` is closed.
    fn closing(&self, open: usize, opening: &str, closing: &str) -> usize {
        let mut depth = 0;
        for at in open..self.tokens.len() {
            depth += i32::from(self.text(at) == opening) - i32::from(self.text(at) == closing);
            if depth == 0 {
                return at;
            }
        }
        panic!("{}:{}: {opening} is never closed", self.path, self.tokens[open].line);
    }

    /// The functions that have a body: length in lines, name.
    fn functions(&self) -> Vec<(usize, String)> {
        let mut functions = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            // `fn(usize)` is a type.
            if token.text != "fn" || self.text(at + 1) == "(" {
                continue;
            }
            let mut body = at + 1;
            while !matches!(self.text(body), "{" | ";" | "") {
                body = match self.text(body) {
                    "(" => self.closing(body, "(", ")"),
                    "[" => self.closing(body, "[", "]"),
                    _ => body,
                } + 1;
            }
            if self.text(body) == "{" {
                let end = self.closing(body, "{", "}");
                let name = format!("{} in src/{}:{}", self.text(at + 1), self.path, token.line);
                functions.push((self.tokens[end].line - token.line + 1, name));
            }
        }
        functions
    }
}

/// The text with comments, strings and character literals replaced by blanks.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = literal(rest, out.chars().next_back());
        let (skipped, after) = rest.split_at(length.unwrap_or(next.len_utf8()));
        match length {
            Some(_) => out.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => out.push(next),
        }
        rest = after;
    }
    out
}

/// How long the comment or literal is that `rest` begins with, if it does.
fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    let up_to = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(up_to(2, "*/"));
    }
    if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        let hashes = rest[1..].chars().take_while(|&c| c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return Some(up_to(2 + hashes, &format!("\"{}", "#".repeat(hashes))));
        }
    }
    let quoted = |quote: char| {
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, c)| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        end.map(|(at, c)| at + c.len_utf8())
    };
    if rest.starts_with('"') {
        return Some(quoted('"').unwrap_or(rest.len()));
    }
    // `'a` is a lifetime, `'a'` and `'\n'` are literals.
    let mut characters = rest.chars();
    let is_character =
        characters.next() == Some('\'') && (characters.next() == Some('\\') || characters.next() == Some('\''));
    if is_character { quoted('\'') } else { None }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            tokens.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn may_name(layer: &str, name: &str) -> bool {
    let below = LAYERS.iter().find(|(known, _)| *known == layer).map_or(&[][..], |(_, below)| *below);
    name == layer || below.contains(&name) || ROOT_ITEMS.contains(&name)
}

/// Fails unless `worst`, the longest there is, agrees with the ratchet.
fn ratchet(what: &str, constant: usize, aim: usize, worst: Option<(usize, String)>) {
    let (lines, name) = worst.expect("there are sources");
    assert!(lines <= constant, "{name} has {lines} lines; the longest {what} may have {constant}. Make it shorter");
    let lowered = lines.max(aim);
    assert!(
        lowered == constant,
        "the longest {what} has {lines} lines now: lower the constant in tests/tidy.rs from {constant} to {lowered}"
    );
}

#[test]
fn imports_point_down_only() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.layer() != "lib") {
        let layer = source.layer();
        assert!(LAYERS.iter().any(|(known, _)| *known == layer), "src/{layer} is new: give it a layer in {}", file!());
        for (line, name) in source.root_names() {
            if !may_name(layer, &name) {
                wrong.push(format!("src/{}:{line}: {layer} may not name crate::{name}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn layers_form_an_order() {
    for (rank, (layer, below)) in LAYERS.iter().enumerate() {
        let lower = |name: &str| LAYERS[..rank].iter().any(|(known, _)| *known == name);
        assert!(below.iter().all(|name| lower(name)), "{layer} names what is not below it");
    }
}

#[test]
fn unsafe_stays_where_it_was_let_in() {
    let sources = sources();
    let has_unsafe = |source: &&Source| source.tokens.iter().any(|token| token.text == "unsafe");
    let found: Vec<&str> = sources.iter().filter(has_unsafe).map(|source| source.path.as_str()).collect();
    for path in &found {
        assert!(UNSAFE.iter().any(|allowed| path.starts_with(allowed)), "unsafe in src/{path}");
    }
    for allowed in UNSAFE {
        assert!(found.iter().any(|path| path.starts_with(allowed)), "{allowed} has no unsafe any more: take it off");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this test reads the manifest")]
fn the_core_knows_nothing_of_python() {
    const FOREIGN: [&str; 2] = ["pyo3", "numpy"];
    for source in sources() {
        let named = source.tokens.iter().find(|token| FOREIGN.contains(&token.text.as_str()));
        assert!(named.is_none(), "src/{}:{}", source.path, named.map_or(0, |token| token.line));
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    assert!(!FOREIGN.iter().any(|name| manifest.contains(name)), "a dependency of the core");
}

#[test]
fn functions_do_not_grow() {
    let worst = sources().iter().flat_map(Source::functions).max();
    ratchet("function", LONGEST_FUNCTION, AIM_FUNCTION, worst);
}

#[test]
fn files_do_not_grow() {
    let worst = sources().into_iter().map(|source| (source.lines, format!("src/{}", source.path))).max();
    ratchet("file", LONGEST_FILE, AIM_FILE, worst);
}

#[test]
fn paths_are_found_wherever_they_hide() {
    let text = r##"
        //! [`x`](crate::comment)
        use crate::{error::Error, runtime::{Call, map}, index};
        use super::{sibling, super::storage::Container};
        fn f(c: char) -> bool { c == '"' && "crate::text" != r#"crate::"raw"# && c != '\'' && crate::simd::on::<'a>() }
        mod tests { use super::super::super::kernel::dot; use super::super::other; }
        pub(crate) fn g() {}
    "##;
    let source = Source::new("vectors/matrix.rs".to_owned(), text);
    let mut names: Vec<String> = source.root_names().into_iter().map(|(_, name)| name).collect();
    names.dedup();
    assert_eq!(names, ["error", "runtime", "index", "storage", "simd", "kernel"]);
}

#[test]
fn a_function_is_as_long_as_from_its_first_line_to_its_last() {
    let text = "trait T { fn f(x: [u8; 4]); }\nfn g(h: fn(u8) -> u8)\nwhere\n{\n    if x { y }\n}\n";
    let functions = Source::new("a.rs".to_owned(), text).functions();
    assert_eq!(functions, [(5, "g in src/a.rs:2".to_owned())]);
}
