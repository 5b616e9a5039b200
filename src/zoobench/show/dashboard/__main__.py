"""`python -m zoobench.show.dashboard run script.py … -- FOLDERS`: Streamlit's own command, ready before the first visitor comes.

Pages are imported before it listens, and the results are read while it begins to.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread

from streamlit.web.cli import main

from zoobench.show.dashboard import app  # noqa: F401
from zoobench.show.dashboard.watching import watch_of

if __name__ == "__main__":
    folders = tuple(map(Path, sys.argv[sys.argv.index("--") + 1 :]))
    Thread(target=watch_of(folders).look, daemon=True).start()
    sys.exit(main(prog_name="streamlit"))
