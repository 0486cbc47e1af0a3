"""Recipes: the settings of runs, one YAML file each, and how they and flags fill a dataclass."""
