"""A trained model taken out: the command `export`, which training is meant, and the card that says what was asked of it.

The pipeline itself is written in `trainer/exporting/`.
"""
