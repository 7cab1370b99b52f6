r"""One residual network, one method: a run of "Two Routes to Scalable Credit Assignment".

    python -m examples.two_routes.train --method sa --depth 20 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.train --method sa --depth 50 --version 2 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --batch-size 1024 --strategy tpu
    python -m examples.two_routes.train --quick

SGD with Nesterov momentum .9, L2 of 1e-4, warm-up over the first 5 of 90 epochs, a tenth of
the rate after 30, 60 and 80. Version 1 has ResNet's preprocessing at 224 pixels, version 2
Inception's at 299. A killed run goes on from its last epoch.

Paper: Kunin et al. 2020.
"""

from __future__ import annotations

from examples import command_line
from examples.two_routes import residual


def main() -> None:
    """Train, and say what came of it."""
    parser = residual.arguments_of(__doc__)
    methods = command_line.row(residual.METHODS)
    parser.add_argument("--method", type=methods, default="sa", metavar="ID")
    parser.number("--depth", "default: 20; --quick: 8")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings = residual.settings_of(given)
    network = residual.case(f"depth {settings.depth}", settings, given.data_dir)
    [found] = residual.runs(given, [network], [residual.variant(given.method)], [given.seed])
    accuracy = found["curves"]["val_accuracy"]
    print(
        f"{settings.name}: test accuracy {100 * accuracy[-1]:.2f} % after {len(accuracy)} epochs"
        + (", diverged" if found["diverged"] else "")
    )


if __name__ == "__main__":
    command_line.run(main)
