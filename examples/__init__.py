"""Scripts that make the figures of the papers: `python -m examples.quickstart` and others.

A script holds the settings of a paper and draws its figure. A script that trains a network with
several methods does so in a `tf_alignment.studies.Study`. All scripts take the flags of
`examples.command_line`. These modules are shared by the scripts:

    command_line    common flags, and errors that are printed in one line
    common          helpers for data, studies, files, tables and figures
    curves          curves of several runs as arrays and as cells of tables
    networks        networks that scripts of several folders train
    decay           optimizer with a large weight decay in the first steps
"""

import sys

try:
    # imported before TensorFlow, whose messages at start-up tf_alignment suppresses
    import tf_alignment as _tf_alignment  # noqa: F401
except KeyboardInterrupt:
    print("Interrupted.", file=sys.stderr)
    raise SystemExit(130) from None
