"""Sources of per-sample values: what terms are evaluated on, and how their gradients reach the weights."""
