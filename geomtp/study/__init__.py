"""Studies: many runs whose results are compared, kept and written up."""
