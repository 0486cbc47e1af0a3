"""Settings of all tests."""

import os

# As the command line does: waiting threads sleep, so that tests beside other work stay quick.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
