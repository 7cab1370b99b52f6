r"""Train a residual network with one method by the recipe of "Two Routes".

    python -m examples.two_routes.train --method sa --depth 20 --data-dir ~/tensorflow_datasets
    python -m examples.two_routes.train --method sa --depth 50 --version 2 --dataset imagenet2012 \
        --data-dir gs://bucket/tensorflow_datasets --batch-size 1024 --strategy tpu
    python -m examples.two_routes.train --quick

The recipe is SGD with Nesterov momentum 0.9, L2 of 1e-4 and 90 epochs. The learning rate warms up
over the first 5 epochs, and falls to a tenth after 30, 60 and 80 epochs. On ImageNet, version 1 has
the preprocessing of ResNet at 224 pixels, version 2 that of Inception at 299. An interrupted run is
continued after its last epoch.

Paper: Kunin et al. 2020, "Two Routes to Scalable Credit Assignment without Weight Symmetry".
"""

from __future__ import annotations

from examples import command_line
from examples.two_routes import residual


def main() -> None:
    """Train the network, and print its test accuracy."""
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
