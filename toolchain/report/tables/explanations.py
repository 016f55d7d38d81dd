"""What the numbers of a report are: of each column its unit, how it is measured, and of how many.

The page says it at a column's head, for a mouse, a keyboard and a finger, and once more at its
end, for paper.
"""

from __future__ import annotations

from collections.abc import Mapping

# By what a column or a line is called on the page.
EXPLANATIONS: Mapping[str, str] = {
    "Latency": "One inference, in ms: the median of those measured one after another once it was "
    "warm, without times below a floor of 1 µs and times more than three standard deviations from "
    "the mean. A row’s own line says of how many, with their spread.",
    "p90": "In ms: nine of ten inferences took no longer. Of all times above the floor.",
    "p99": "In ms: 99 of 100 inferences took no longer. Of all times above the floor; of fewer "
    "than 100 it is little less than the longest.",
    "FPS": "Inputs a second: inferences × batch ÷ their time together, one inference at a time.",
    "Load": "From the file to a network that is ready, in ms: measured once.",
    "Memory": "In MiB, what the model adds to its process: the process’s peak, less what Python, "
    "numpy and the runtime took before it was loaded. Measured once, over all inferences.",
    "An inference": "Guest instructions of one inference on one thread, counted and not timed: the "
    "difference of two runs that differ in their number of inferences alone.",
    "Times the fastest": "Latency ÷ that of the network’s fastest runtime; 1 is the fastest.",
    "Times the fewest": "Instructions ÷ those of the network’s leanest runtime; 1 is the fewest.",
    "Top-1": "Share of inputs whose class is right, on the device: images of accuracy where they "
    "were run, else the model’s own labelled samples. The table of parity has its interval.",
    "Points lost": "Percentage points of top-1 that it has less than the network as it was trained "
    "(fp32, on the machine that made it) on the same inputs; below zero it has more.",
    "Size": "Of the file that is run: a model, or a compiled library with the weights in it.",
    "Largest difference": "The largest absolute difference of any output value from what the same "
    "variant gave on the machine that made it (fp32: the model’s own framework), on the same "
    "inputs.",
    "Same top-1": "On how many of the inputs compared the class is that of the same variant on the "
    "machine that made it.",
    "Accuracy (95 %)": "Share of right classes of the model’s labelled samples on the device, with "
    "its 95 % interval by Wilson’s formula; “of” says of how many where not all were run.",
    "Reference’s accuracy": "The same share of the same variant on the machine that made it.",
    "Delegated nodes": "Nodes of the graph that XNNPACK took, of all.",
    "Top-1 (95 %)": "Share of images whose class is right, with its 95 % interval by Wilson’s "
    "formula.",
    "Top-5 (95 %)": "Share of images whose class is among the five likeliest, with its 95 % "
    "interval.",
    "Here, top-1": "Top-1 of the same variant on the machine that sent the images, on the same "
    "ones.",
    "Same class as here": "Images on which the device and that machine say the same, of all.",
    "Published top-1 / top-5": "What the makers of the weights state for ImageNet’s 50,000 "
    "validation images.",
    "Ratio": "The second latency ÷ the first, or of instructions: below 1 the second is faster.",
    "Inputs of another class": "Inputs on which the two results have different classes.",
    "smallest": "The configuration whose file is the smallest, of those that ran well.",
    "leanest": "The one that adds the least memory to its process: the process’s peak, less what "
    "Python, numpy and the runtime took before.",
    "most accurate": "The one with the highest top-1 on the device; of equal ones the fastest.",
    "Measured": "When the first and the last measurements of a release began there, in UTC.",
    "Batches": "Inputs of an inference, at each of which all forms of the row were run.",
}
EXPLANATIONS = {**EXPLANATIONS, "Instructions an inference": EXPLANATIONS["An inference"]}


class Legend:
    """The explanations that a page has used, in their order."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}

    def of(self, name: str) -> str:
        """What stands at a column's head; empty where its name says all."""
        said = EXPLANATIONS.get(name, "")
        if said:
            self.used[name] = said
        return said
