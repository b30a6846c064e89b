"""Nearfield inside of other frameworks.

The idea: an adapter translates, and nothing more. What a framework calls a filter, a document or a score
becomes what Nearfield calls it, and everything else is left to the collection or the index behind it. Each
module stands alone and needs its framework only when it is imported:

- `langchain`: `NearfieldVectorStore`, a `VectorStore`.
- `haystack`: `NearfieldDocumentStore`, a `DocumentStore`, and `NearfieldEmbeddingRetriever`.
- `llama_index`: `NearfieldVectorStore`, a `BasePydanticVectorStore`.
- `sklearn`: `NearfieldTransformer`, a transformer to neighbours graphs.
- `ann_benchmarks`: algorithms for ann-benchmarks.
- `vectordbbench`: a client for VectorDBBench.
"""
