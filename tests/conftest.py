"""What holds for all tests."""

import textual._wait
from hypothesis import settings

# How long an example takes says more of the machine than of the program.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Textual's pilot looks every 20 ms whether a program is at work, and these tests ask it a hundred thousand times. Each
# of them waits for what the app says of itself besides.
textual._wait.SLEEP_GRANULARITY = 1 / 500
textual._wait.SLEEP_IDLE = 1 / 4000
