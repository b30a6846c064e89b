"""Nearfield as a vector store of LlamaIndex.

The idea: the metadata of a node are those of its row, and beside them the node itself lies as text, in the
form that LlamaIndex gives it. So filters look at metadata, and nodes come back as they went in.
"""

from nearfield.optional import missing

try:
    import llama_index.core as _llama_index  # noqa: F401
except ImportError as error:
    raise missing("LlamaIndex", "llama-index") from error

from nearfield.integrations.llama_index.store import NearfieldVectorStore

__all__ = ["NearfieldVectorStore"]
