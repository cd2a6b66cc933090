//! From text to a tree of values. What a tree has no room for is told with its path, and the rest of the
//! text is read all the same: a key that stands twice, a second document.
//!
//! The text is read event by event, and what it comes to is counted as it comes: a text of a few thousand
//! bytes may stand for gigabytes. See [`bounds`](super::bounds).

use std::borrow::Cow;
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag, options};
use hashbrown::{HashMap, HashSet};

use super::bounds::{MAX_LEVELS, MAX_TEXT, MAX_TEXT_LENGTH, MAX_VALUES};
use super::path::{NodePath, Position};
use super::problem::{self, Problem};
use super::document::Document;
use super::value::{Entry, Kind, Value, plain};

/// The key under which YAML merges other mappings into one.
const MERGE: &str = "<<";

/// The tree of a document; `None` where its text is no YAML, or is beyond a bound.
pub(super) fn tree<'t>(document: &Document<'t>) -> Option<Value<'t>> {
    if let Some(position) = problem::control_character(document.text()) {
        document.push(Problem::of_control_character(document.file(), position));
        return None;
    }
    let mut parser = Parser::new_from_str_with_options(document.text(), options());
    let mut builder = TreeBuilder::new(document);
    loop {
        match builder.take(parser.next()?) {
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

/// What a part of a document comes to, with every alias written out.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    values: usize,
    text: usize,
    levels: usize,
}

impl Extent {
    /// A word.
    const fn word(length: usize) -> Self {
        Self { values: 1, text: length, levels: 0 }
    }

    /// Which bound is passed, if one is.
    fn beyond(self) -> Option<String> {
        if self.levels > MAX_LEVELS {
            return Some(problem::too_deep());
        }
        if self.values > MAX_VALUES {
            return Some(format!(
                "with this the file says more than {MAX_VALUES} things, aliases and merges written \
                 out; repeat less, or split it"
            ));
        }
        (self.text > MAX_TEXT).then(|| {
            format!(
                "with this the file holds more than {MAX_TEXT} bytes of text, aliases written out; \
                 repeat less, or split it"
            )
        })
    }
}

/// A list or a mapping that has not ended.
struct Open<'t> {
    kind: Within<'t>,
    position: Position,
    anchor: usize,
    tag: Option<String>,
    /// Of what is within, itself left out.
    extent: Extent,
}

enum Within<'t> {
    List(Vec<Value<'t>>),
    Mapping { entries: Vec<Entry<'t>>, key: Option<Value<'t>> },
}

/// A value that is whole, and what it comes to.
type Anchored<'t> = (Value<'t>, Extent);

struct TreeBuilder<'d, 't> {
    document: &'d Document<'t>,
    open: Vec<Open<'t>>,
    /// What can be written again: nothing that has not ended, so that nothing stands within itself.
    anchors: HashMap<usize, Anchored<'t>>,
    total: Extent,
    root: Option<Value<'t>>,
}

impl<'d, 't> TreeBuilder<'d, 't> {
    fn new(document: &'d Document<'t>) -> Self {
        Self {
            document,
            open: Vec::new(),
            anchors: HashMap::new(),
            total: Extent::default(),
            root: None,
        }
    }

    /// Takes the next event; the tree, once that was the last.
    fn take(
        &mut self,
        event: Result<(Event<'t>, Span), ScanError>,
    ) -> Result<Option<Value<'t>>, Problem> {
        let (event, span) =
            event.map_err(|error| Problem::of_syntax(self.document.file(), &error))?;
        let start = span.tag_start.unwrap_or(span.start);
        let position = Position::new(start.line(), start.col() + 1);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let what = "another document begins here; one file, one domain";
                self.document.push(Problem::at(self.document.file(), position, what));
                return Ok(self.root.take());
            }
            Event::StreamEnd => {
                let nothing = Value { kind: Kind::Nothing, position };
                return Ok(Some(self.root.take().unwrap_or(nothing)));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let extent = Extent::word(text.len());
                self.count(extent, position)?;
                self.hang(Value { kind: word(text, style, tag), position }, extent, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(Within::List(Vec::new()), position, anchor, tag)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = Within::Mapping { entries: Vec::new(), key: None };
                self.begin(kind, position, anchor, tag)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => self.repeat(anchor, position)?,
            _ => {}
        }
        Ok(None)
    }

    fn begin(
        &mut self,
        kind: Within<'t>,
        position: Position,
        anchor: usize,
        tag: Option<Cow<'t, Tag>>,
    ) -> Result<(), Problem> {
        let tag = tag.filter(|tag| !tag.is_yaml_core_schema()).map(|tag| tag.to_string());
        self.open.push(Open { kind, position, anchor, tag, extent: Extent::default() });
        let extent = Extent { levels: self.open.len(), ..Extent::word(0) };
        self.count(extent, position)
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.kind {
            Within::List(items) => Kind::List(items.into()),
            Within::Mapping { entries, .. } => Kind::Mapping(self.unite(entries).into()),
        };
        let kind = open.tag.map_or(kind, Kind::Tagged);
        let extent = Extent {
            values: open.extent.values + 1,
            levels: open.extent.levels + 1,
            ..open.extent
        };
        self.hang(Value { kind, position: open.position }, extent, open.anchor);
        Ok(())
    }

    fn repeat(&mut self, anchor: usize, position: Position) -> Result<(), Problem> {
        let Some((value, extent)) = self.anchors.get(&anchor).cloned() else {
            let what = "this alias stands within what it stands for; write out what is meant";
            return Err(self.wrong(position, what));
        };
        let levels = self.open.len() + extent.levels;
        self.count(Extent { levels, ..extent }, position)?;
        self.hang(value, extent, 0);
        Ok(())
    }

    /// Counts what the document comes to.
    fn count(&mut self, more: Extent, position: Position) -> Result<(), Problem> {
        if more.values == 1 && more.text > MAX_TEXT_LENGTH {
            let what =
                format!("no more than {MAX_TEXT_LENGTH} bytes of text at a time; shorten it");
            return Err(self.wrong(position, what));
        }
        self.total.values += more.values;
        self.total.text += more.text;
        let total = Extent { levels: more.levels, ..self.total };
        total.beyond().map_or(Ok(()), |what| Err(self.wrong(position, what)))
    }

    fn wrong(&self, position: Position, what: impl Into<String>) -> Problem {
        Problem::of(self.document.file(), &self.path(position), what)
    }

    /// Hangs a value that is whole into what is open.
    fn hang(&mut self, value: Value<'t>, extent: Extent, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), extent));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(value);
            return;
        };
        open.extent.values += extent.values;
        open.extent.text += extent.text;
        open.extent.levels = open.extent.levels.max(extent.levels);
        match &mut open.kind {
            Within::List(items) => items.push(value),
            Within::Mapping { entries, key } => match key.take() {
                None => *key = Some(value),
                Some(key) => entries.push((key, value)),
            },
        }
    }

    /// The path that is read now.
    fn path(&self, position: Position) -> NodePath {
        let here = NodePath::root(position);
        self.open.iter().fold(here, |path, open| match &open.kind {
            Within::List(items) => path.index(items.len(), position),
            Within::Mapping { key, .. } => match key.as_ref().and_then(Value::word) {
                Some(key) => path.key(&key, position),
                None => path,
            },
        })
    }

    /// The entries of a mapping, each key once, with those that are merged into it. A key of its own goes
    /// before a merged one, wherever it stands.
    fn unite(&self, entries: Vec<Entry<'t>>) -> Vec<Entry<'t>> {
        let mut keys: HashSet<Rc<str>> = HashSet::with_capacity(entries.len());
        let mut united = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for (key, value) in entries {
            let Some(name) = key.word() else {
                united.push((key, value));
                continue;
            };
            let path = || self.path(key.position).key(&name, key.position);
            if !keys.insert((*name).into()) {
                let what = "this key is here already; keep one of the two";
                self.document.report(&path(), what);
            } else if key.as_str() != Some(MERGE) {
                united.push((key, value));
            } else if let Some(mappings) = mergeable(&value) {
                merged = mappings;
            } else {
                let what = "`<<` takes in a mapping, or a list of them, as in `<<: *other`";
                self.document.report(&path(), what);
            }
        }
        for (key, value) in merged.iter().flat_map(|entries| &**entries) {
            if key.word().is_none_or(|name| keys.insert((*name).into())) {
                united.push((key.clone(), value.clone()));
            }
        }
        united
    }
}

/// What is merged, in the order in which it goes before others.
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

/// What a word means. Quotes make it text, and so does the tag of text; a tag of one's own means nothing here.
fn word<'t>(text: Cow<'t, str>, style: ScalarStyle, tag: Option<Cow<'t, Tag>>) -> Kind<'t> {
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
