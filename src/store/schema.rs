//! What a collection is made of: chosen when it is created, and the same for ever.

use crate::error::{Error, Result};
use crate::index::{Bits, FlatIndex, GraphCodec, HnswIndex, HnswParameters, Index, IndexOptions, LentPart};
use crate::storage::Container;
use crate::vectors::{Codec, Metric};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a collection is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IndexKind {
    /// Every row is looked at, and the answer is exact.
    Flat,
    /// A walk through a graph; rows that are not linked yet are looked at.
    Hnsw,
}

impl IndexKind {
    /// Every kind.
    pub const ALL: &[IndexKind] = &[IndexKind::Hnsw, IndexKind::Flat];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Flat => "flat",
            IndexKind::Hnsw => "hnsw",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<IndexKind> {
        IndexKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// The frozen part of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Values a vector, 1 to 65,535.
    pub dim: usize,
    /// What near means.
    pub metric: Metric,
    /// How vectors are kept.
    pub codec: Codec,
    /// How they are searched.
    pub index: IndexKind,
    /// How the graph is built, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<HnswParameters>,
}

impl Schema {
    /// Vectors of `dim` values, kept as given and searched exactly.
    pub fn new(dim: usize, metric: Metric) -> Schema {
        Schema { dim, metric, codec: metric.codec(), index: IndexKind::Flat, graph: None }
    }

    /// The same with a graph.
    pub fn with_graph(self, parameters: HnswParameters) -> Schema {
        Schema { index: IndexKind::Hnsw, graph: Some(parameters), ..self }
    }

    /// Bytes that a row takes in the graph once it is linked, about.
    pub(super) fn linked_bytes(&self) -> usize {
        self.graph.map_or(0, |parameters| parameters.linked_bytes(self.metric, self.dim))
    }

    /// Bytes that a row which waits in the index takes later, about: for its links, or for codes of four bits a value.
    pub(super) fn awaited_bytes(&self) -> usize {
        if self.index == IndexKind::Flat { self.dim / 2 + 12 } else { self.linked_bytes() }
    }

    /// An empty index of this kind. The one place that knows how many kinds there are.
    pub(super) fn index(&self) -> Result<Indexed> {
        let options = self.options();
        match (self.index, self.graph) {
            (IndexKind::Flat, None) => Ok(Indexed::Flat(Arc::new(FlatIndex::new(options)?))),
            (IndexKind::Hnsw, Some(parameters)) if parameters.codec == GraphCodec::Lean => {
                let message = "a collection keeps its vectors, and a graph with codec 'lean' does not";
                Err(Error::InvalidArgument(message.to_owned()))
            }
            (IndexKind::Hnsw, Some(parameters)) => Ok(Indexed::graph_of(HnswIndex::new(options, parameters)?)),
            _ => Err(Error::InvalidArgument("a graph has parameters, and nothing else has".to_owned())),
        }
    }

    /// The index whose graph and rows these files have, both opened to be taken; only the rows in `live` are visible.
    pub(super) fn index_over(&self, graph: &Container, rows: &Container, live: Bits) -> Result<Indexed> {
        let Some(parameters) = self.graph else {
            return Err(graph.corrupt("header", "it belongs to a collection that has no graph"));
        };
        Ok(Indexed::graph_of(HnswIndex::over(self.options(), parameters, graph, rows, live)?))
    }

    /// The index over rows that lie in files, and the first id of each part.
    pub(super) fn index_in(&self, parts: Vec<LentPart>) -> Result<(Indexed, Vec<i64>)> {
        let (index, firsts) = FlatIndex::over(self.options(), parts)?;
        Ok((Indexed::Flat(Arc::new(index)), firsts))
    }

    fn options(&self) -> IndexOptions {
        IndexOptions { dim: self.dim, metric: self.metric, codec: self.codec, max_bytes: None }
    }
}

/// The index of a collection.
pub(super) enum Indexed {
    Flat(Arc<FlatIndex>),
    Graph(Arc<HnswIndex>),
}

impl Indexed {
    fn graph_of(index: HnswIndex) -> Indexed {
        // Rows are durable, and found, before they are linked.
        index.link_later(true);
        Indexed::Graph(Arc::new(index))
    }

    /// The index, whatever its kind.
    pub(super) fn any(&self) -> Arc<dyn Index> {
        match self {
            Indexed::Flat(index) => Arc::<FlatIndex>::clone(index),
            Indexed::Graph(index) => Arc::<HnswIndex>::clone(index),
        }
    }

    /// The index, if it has a graph.
    pub(super) fn graph(&self) -> Option<&Arc<HnswIndex>> {
        if let Indexed::Graph(index) = self { Some(index) } else { None }
    }
}

/// The most bytes of a collection's name.
const MAX_NAME_BYTES: usize = 255;

/// Refuses a name that somebody could take for something else. Names are never paths; this is for those who print them.
pub(super) fn check_name(name: &str) -> Result<()> {
    let what = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("it has {} bytes, at most {MAX_NAME_BYTES} fit", name.len())
    } else if name == "." || name == ".." {
        "it is a directory's".to_owned()
    } else if let Some(wrong) = name.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
        format!("it has {wrong:?} in it")
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(40).collect();
    Err(Error::InvalidArgument(format!("a collection cannot be called {shown:?}: {what}")))
}
