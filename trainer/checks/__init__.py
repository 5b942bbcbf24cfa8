"""What is checked of a recipe's data, models and starts, before anything is loaded and after.

No rule over a recipe alone: these are in `recipe/consistency/`.
"""
