"""Multi-task pretraining of remote-sensing foundation models."""
