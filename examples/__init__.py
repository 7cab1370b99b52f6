"""Scripts that make the figures of the papers: `python -m examples.quickstart` and others.

A script is a paper's settings and its figure; what it trains with methods side by side is a
`tf_alignment.studies.Study`. All take the flags of `examples.command_line`.

    command_line    flags, and one line where a script cannot go on
    common          data, files, tables and figures
    curves          numbers of several runs, side by side
    networks        networks that scripts of several folders train
    decay           weight decay that is large at first
"""

import sys

try:
    # here, where TensorFlow's messages at start-up are kept from the screen
    import tf_alignment as _tf_alignment  # noqa: F401
except KeyboardInterrupt:
    print("Interrupted.", file=sys.stderr)
    raise SystemExit(130) from None
