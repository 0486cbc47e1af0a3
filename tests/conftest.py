"""Settings of all tests."""

import os

# As the command line does: waiting threads sleep, so that tests beside other work stay quick.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No test asks the hub: what needs a repository pretends one. Read when huggingface_hub is loaded.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
