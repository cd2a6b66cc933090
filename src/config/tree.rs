//! Builds a tree of values from text. In a policy, duplicate keys and a second document are reported, and the rest of the
//! text is read nevertheless. In a ratelimit configuration they count for what they do in the reference.
//!
//! The text is read event by event, and its size with aliases expanded is counted on the way: a few thousand bytes may
//! expand to gigabytes. See [`bounds`](super::bounds).

mod merge;
mod scalar;
mod timestamp;

use std::borrow::Cow;

use granit_parser::{Event, ScanError, Span, Tag, YamlVersion};
use hashbrown::HashMap;

use super::bounds::{MAX_LEVELS, MAX_TEXT, MAX_TEXT_LENGTH, MAX_VALUES};
use super::document::Document;
use super::language::{self, Language};
use super::path::{NodePath, Position, shown};
use super::problem::{self, Problem};
use super::value::{Entry, Kind, Value};

/// The tree of a document; `None` if its text is not YAML, or exceeds a bound.
pub(super) fn tree<'t>(document: &Document<'t>, language: Language) -> Option<Value<'t>> {
    if let Some(position) = problem::control_character(document.text()) {
        document.push(Problem::of_control_character(document.file(), position));
        return None;
    }
    let mut parser = language::parser(document.text());
    let mut builder = TreeBuilder::new(document, language);
    loop {
        match builder.event(parser.next()?) {
            Ok(None) => {}
            Ok(Some(tree)) => return Some(tree),
            Err(problem) => {
                document.push(problem);
                return None;
            }
        }
    }
}

/// The size of a part of a document, with aliases expanded.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    text: usize,
    levels: usize,
}

impl Size {
    const fn scalar(length: usize) -> Self {
        Self { values: 1, text: length, levels: 0 }
    }

    /// The problem of the bound that is exceeded, if any.
    fn exceeded_bound(self) -> Option<String> {
        if self.levels > MAX_LEVELS {
            return Some(problem::too_deep());
        }
        if self.values > MAX_VALUES {
            return Some(format!(
                "the file has more than {MAX_VALUES} values, with aliases and merges expanded; repeat \
                 less, or split it"
            ));
        }
        (self.text > MAX_TEXT).then(|| {
            format!(
                "the file has more than {MAX_TEXT} bytes of text, with aliases expanded; repeat less, \
                 or split it"
            )
        })
    }
}

/// A list or mapping that has not ended.
struct OpenValue<'t> {
    kind: Container<'t>,
    position: Position,
    anchor: usize,
    tag: Option<String>,
    /// The size of its children.
    size: Size,
}

enum Container<'t> {
    List(Vec<Value<'t>>),
    Mapping { entries: Vec<Entry<'t>>, key: Option<Value<'t>> },
}

/// A complete value and its size.
type Anchored<'t> = (Value<'t>, Size);

struct TreeBuilder<'d, 't> {
    document: &'d Document<'t>,
    language: Language,
    open: Vec<OpenValue<'t>>,
    /// The values that an alias may repeat. Only complete ones, so that none contains itself.
    anchors: HashMap<usize, Anchored<'t>>,
    total: Size,
    root: Option<Value<'t>>,
}

impl<'d, 't> TreeBuilder<'d, 't> {
    fn new(document: &'d Document<'t>, language: Language) -> Self {
        Self {
            document,
            language,
            open: Vec::new(),
            anchors: HashMap::new(),
            total: Size::default(),
            root: None,
        }
    }

    /// Handles the next event, and returns the tree after the last one.
    fn event(
        &mut self,
        event: Result<(Event<'t>, Span), ScanError>,
    ) -> Result<Option<Value<'t>>, Problem> {
        let (event, span) = match event {
            Ok(event) => event,
            // The reference does not read on behind the first document.
            Err(_) if self.root.is_some() && self.language == Language::RateLimit => {
                return Ok(self.root.take());
            }
            Err(error) => return Err(Problem::of_syntax(self.document.file(), &error)),
        };
        let start = span.tag_start.unwrap_or(span.start);
        let position = Position::new(start.line(), start.col() + 1);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                self.second_document(position);
                return Ok(self.root.take());
            }
            Event::DocumentStart(_, version) => self.directives(version, position)?,
            Event::StreamEnd => {
                let nothing = Value { kind: Kind::Nothing, position };
                return Ok(Some(self.root.take().unwrap_or(nothing)));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size::scalar(text.len());
                self.count(size, position)?;
                let kind = match self.language {
                    Language::Policy => scalar::core_schema(text, style, tag),
                    Language::RateLimit => scalar::yaml_1_1(text, style, tag),
                };
                self.attach(Value { kind, position }, size, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(Container::List(Vec::new()), position, anchor, tag)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = Container::Mapping { entries: Vec::new(), key: None };
                self.open(kind, position, anchor, tag)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => self.resolve_alias(anchor, position)?,
            _ => {}
        }
        Ok(None)
    }

    /// Checks the directives before the document, which starts at this position. The reference's parser refuses another
    /// version than 1.1, and directives that YAML does not define.
    fn directives(&self, version: Option<YamlVersion>, start: Position) -> Result<(), Problem> {
        if self.language == Language::Policy {
            return Ok(());
        }
        let is_1_1 = version.is_none_or(|version| version == YamlVersion::new(1, 1));
        let is_known = |line: &str| match line.split_whitespace().next() {
            Some("%TAG") => true,
            Some("%YAML") => is_1_1,
            _ => false,
        };
        let text = self.document.text().trim_start_matches('\u{feff}');
        let mut directives =
            (1..start.line).zip(text.lines()).filter(|(_, line)| line.starts_with('%'));
        let unknown = directives.find(|(_, line)| !is_known(line));
        unknown.map_or(Ok(()), |(number, line)| {
            let what = format!(
                "`{}`: a ratelimit configuration is in YAML 1.1; remove this line",
                shown(line.trim_end())
            );
            let position = Position { line: number, column: 1 };
            Err(Problem::at(self.document.file(), position, what))
        })
    }

    fn second_document(&self, position: Position) {
        match self.language {
            Language::Policy => {
                let what = "a second document begins here; put it in a file of its own";
                self.document.push(Problem::at(self.document.file(), position, what));
            }
            Language::RateLimit => {
                let what = "what begins here is ignored: only the first document of a file is \
                            read; put every domain in its own file";
                self.document.warn(&NodePath::root(position), what);
            }
        }
    }

    fn open(
        &mut self,
        kind: Container<'t>,
        position: Position,
        anchor: usize,
        tag: Option<Cow<'t, Tag>>,
    ) -> Result<(), Problem> {
        // The reference passes over the tags of lists and mappings.
        let is_problem =
            |tag: &Cow<'_, Tag>| self.language == Language::Policy && !tag.is_yaml_core_schema();
        let tag = tag.filter(is_problem).map(|tag| tag.to_string());
        self.open.push(OpenValue { kind, position, anchor, tag, size: Size::default() });
        let size = Size { levels: self.open.len(), ..Size::scalar(0) };
        self.count(size, position)
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.kind {
            Container::List(items) => Kind::List(items.into()),
            Container::Mapping { entries, .. } => Kind::Mapping(self.merge(entries).into()),
        };
        let kind = open.tag.map_or(kind, Kind::Tagged);
        let size = Size { values: open.size.values + 1, levels: open.size.levels + 1, ..open.size };
        self.attach(Value { kind, position: open.position }, size, open.anchor);
        Ok(())
    }

    fn resolve_alias(&mut self, anchor: usize, position: Position) -> Result<(), Problem> {
        let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
            let what = "this alias refers to a value that contains it; write the value out";
            return Err(self.problem(position, what));
        };
        let levels = self.open.len() + size.levels;
        self.count(Size { levels, ..size }, position)?;
        self.attach(value, size, 0);
        Ok(())
    }

    /// Adds to the size of the document, and checks it against the bounds.
    fn count(&mut self, more: Size, position: Position) -> Result<(), Problem> {
        if more.values == 1 && more.text > MAX_TEXT_LENGTH {
            let what = format!("one text has at most {MAX_TEXT_LENGTH} bytes; shorten it");
            return Err(self.problem(position, what));
        }
        self.total.values += more.values;
        self.total.text += more.text;
        let total = Size { levels: more.levels, ..self.total };
        total.exceeded_bound().map_or(Ok(()), |what| Err(self.problem(position, what)))
    }

    fn problem(&self, position: Position, what: impl Into<String>) -> Problem {
        Problem::of(self.document.file(), &self.path(position), what)
    }

    /// Adds a complete value to the innermost open one.
    fn attach(&mut self, value: Value<'t>, size: Size, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return;
        };
        open.size.values += size.values;
        open.size.text += size.text;
        open.size.levels = open.size.levels.max(size.levels);
        match &mut open.kind {
            Container::List(items) => items.push(value),
            Container::Mapping { entries, key } => match key.take() {
                None => *key = Some(value),
                Some(key) => entries.push((key, value)),
            },
        }
    }

    /// The path of the value that is read now.
    fn path(&self, position: Position) -> NodePath {
        let here = NodePath::root(position);
        self.open.iter().fold(here, |path, open| match &open.kind {
            Container::List(items) => path.index(items.len(), position),
            Container::Mapping { key, .. } => match key.as_ref().and_then(Value::scalar) {
                Some(key) => path.key(&key, position),
                None => path,
            },
        })
    }

    fn merge(&self, entries: Vec<Entry<'t>>) -> Vec<Entry<'t>> {
        let place = |position| self.path(position);
        match self.language {
            Language::Policy => merge::own_keys_first(entries, self.document, place),
            Language::RateLimit => merge::in_order(entries, self.document, place),
        }
    }
}
