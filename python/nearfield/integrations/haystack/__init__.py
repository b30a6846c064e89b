"""Nearfield as a document store of Haystack.

The idea: a row's metadata are the document itself, as Haystack writes it to a dictionary, so that a filter on
`meta.year` is one on the path `meta.year`. A document without an embedding is a row of zeros that no search
looks at.
"""

from nearfield.optional import missing

try:
    import haystack as _haystack  # noqa: F401
except ImportError as error:
    raise missing("Haystack", "haystack") from error

from nearfield.integrations.haystack.retriever import NearfieldEmbeddingRetriever
from nearfield.integrations.haystack.store import NearfieldDocumentStore

__all__ = ["NearfieldDocumentStore", "NearfieldEmbeddingRetriever"]
