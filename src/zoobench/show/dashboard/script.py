"""The script that Streamlit compiles and runs for each visit and each change; `app` is already imported then."""

import sys
from pathlib import Path

from zoobench.show.dashboard.app import show

show([Path(word) for word in sys.argv[1:]])
