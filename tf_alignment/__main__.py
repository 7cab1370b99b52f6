"""The command line: `python -m tf_alignment study|report|list`."""

import sys

from tf_alignment.studies.cli import main

if __name__ == "__main__":
    sys.exit(main())
