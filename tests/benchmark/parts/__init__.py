"""The benchmark in parts: the tree, the contenders that compile it, and the results."""
