"""Pictures: what was measured, and what lies where.

The idea: one line of code from a report or some vectors to a picture that can be put beside somebody else's.
matplotlib is imported when a picture is drawn, not before.
"""

from nearfield.plot.curves import recall_qps
from nearfield.plot.latencies import latency_histogram
from nearfield.plot.maps import embedding_map

__all__ = ["embedding_map", "latency_histogram", "recall_qps"]
