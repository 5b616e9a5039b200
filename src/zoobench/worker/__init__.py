"""The child process: it does the work that imports runtimes, and speaks JSON lines with its parent."""
