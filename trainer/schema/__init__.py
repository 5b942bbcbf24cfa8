"""The sections of a recipe, one file each; `trainer.recipe` puts them together."""
