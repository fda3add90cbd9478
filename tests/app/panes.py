from tests.panes.pictures import *  # noqa: F403
