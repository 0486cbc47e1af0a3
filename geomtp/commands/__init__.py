"""The verbs of the command line: words in, one call into the package, an exit status out."""
