//! Builds a tree of values from text. Duplicate keys and a second document are reported, and the rest of the text is
//! read nevertheless.
//!
//! The text is read event by event, and its size with aliases expanded is counted on the way: a few thousand bytes may
//! expand to gigabytes. See [`bounds`](super::bounds).

use std::borrow::Cow;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag, options};
use hashbrown::{HashMap, HashSet};

use super::bounds::{MAX_LEVELS, MAX_TEXT, MAX_TEXT_LENGTH, MAX_VALUES};
use super::document::Document;
use super::path::{NodePath, Position};
use super::problem::{self, Problem};
use super::value::{Entry, Kind, Value, plain};

/// The key whose value YAML merges into the mapping.
const MERGE: &str = "<<";

/// The tree of a document; `None` if its text is not YAML, or exceeds a bound.
pub(super) fn tree<'t>(document: &Document<'t>) -> Option<Value<'t>> {
    if let Some(position) = problem::control_character(document.text()) {
        document.push(Problem::of_control_character(document.file(), position));
        return None;
    }
    let mut parser = Parser::new_from_str_with_options(document.text(), options());
    let mut builder = TreeBuilder::new(document);
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

fn options() -> Options {
    let mut options = options! {
        flow_nesting_limit: MAX_LEVELS,
        block_nesting_limit: MAX_LEVELS,
    };
    options.set_emit_comments(false);
    options
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
    open: Vec<OpenValue<'t>>,
    /// The values that an alias may repeat. Only complete ones, so that none contains itself.
    anchors: HashMap<usize, Anchored<'t>>,
    total: Size,
    root: Option<Value<'t>>,
}

impl<'d, 't> TreeBuilder<'d, 't> {
    fn new(document: &'d Document<'t>) -> Self {
        Self {
            document,
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
        let (event, span) =
            event.map_err(|error| Problem::of_syntax(self.document.file(), &error))?;
        let start = span.tag_start.unwrap_or(span.start);
        let position = Position::new(start.line(), start.col() + 1);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let what = "a second document begins here; put every domain in its own file";
                self.document.push(Problem::at(self.document.file(), position, what));
                return Ok(self.root.take());
            }
            Event::StreamEnd => {
                let nothing = Value { kind: Kind::Nothing, position };
                return Ok(Some(self.root.take().unwrap_or(nothing)));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size::scalar(text.len());
                self.count(size, position)?;
                self.attach(Value { kind: scalar(text, style, tag), position }, size, anchor);
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

    fn open(
        &mut self,
        kind: Container<'t>,
        position: Position,
        anchor: usize,
        tag: Option<Cow<'t, Tag>>,
    ) -> Result<(), Problem> {
        let tag = tag.filter(|tag| !tag.is_yaml_core_schema()).map(|tag| tag.to_string());
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

    /// The entries of a mapping, each key once, with those that `<<` merges into it. The mapping's own keys take
    /// precedence, wherever `<<` stands.
    fn merge(&self, entries: Vec<Entry<'t>>) -> Vec<Entry<'t>> {
        let mut keys: HashSet<Rc<str>> = HashSet::with_capacity(entries.len());
        let mut unique = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.scalar() else {
                unique.push((key, value));
                continue;
            };
            let path = || self.path(key.position).key(&name, key.position);
            if !keys.insert((*name).into()) {
                let what = "duplicate key; keep one of the two";
                self.document.report(&path(), what);
            } else if key.as_str() != Some(MERGE) {
                unique.push((key, value));
            } else if let Some(mappings) = mergeable(&value) {
                merged = mappings;
            } else {
                let what = "`<<` merges a mapping or a list of mappings, as in `<<: *other`";
                self.document.report(&path(), what);
            }
        }
        for (key, value) in merged.iter().flat_map(|entries| &**entries) {
            if key.scalar().is_none_or(|name| keys.insert((*name).into())) {
                unique.push((key.clone(), value.clone()));
            }
        }
        unique
    }
}

/// The mappings to merge, the first with the highest precedence.
fn mergeable<'t>(value: &Value<'t>) -> Option<Vec<Rc<[Entry<'t>]>>> {
    let one = |value: &Value<'t>| match &value.kind {
        Kind::Mapping(entries) => Some(Rc::clone(entries)),
        _ => None,
    };
    match &value.kind {
        Kind::List(items) => items.iter().map(one).collect(),
        _ => one(value).map(|entries| vec![entries]),
    }
}

/// The value of a scalar. Quotes or the tag `!!str` make it text; a custom tag is kept for the report.
fn scalar<'t>(text: Cow<'t, str>, style: ScalarStyle, tag: Option<Cow<'t, Tag>>) -> Kind<'t> {
    match tag {
        None if style == ScalarStyle::Plain => plain(text),
        None => Kind::Text(text),
        Some(tag) => match tag.core_suffix() {
            Some("str") => Kind::Text(text),
            Some(_) => plain(text),
            None => Kind::Tagged(tag.to_string()),
        },
    }
}
