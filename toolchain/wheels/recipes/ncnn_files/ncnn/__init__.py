"""ncnn: runs networks in its own form (.param and .bin) on the CPU.

The library is the project's own; this package calls its C API, and has of the project's Python
package what runs a network: `Net` and its options, `Extractor`, `Mat`.
"""

from ncnn.c_api import VERSION
from ncnn.mat import Mat
from ncnn.net import Extractor, Net, Option, layer_to_index

__version__ = VERSION

__all__ = ["Extractor", "Mat", "Net", "Option", "__version__", "layer_to_index"]
