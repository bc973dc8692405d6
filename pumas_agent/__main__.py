"""`python -m pumas_agent`: the command line, where no script is installed."""

import sys

from pumas_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
