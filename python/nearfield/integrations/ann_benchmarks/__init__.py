"""Nearfield in ann-benchmarks.

Copy `config.yml` and `Dockerfile`, which lie beside this file, to `ann_benchmarks/algorithms/nearfield/` of a
checkout of ann-benchmarks; they name the classes in `module` here, so nothing else has to be copied.
"""
