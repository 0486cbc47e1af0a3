"""The page in the browser and the HTTP interface. See ``docs/serving.md``."""
