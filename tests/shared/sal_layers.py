"""Dense layers for stochastic neurons."""

import warnings

import keras

from tf_alignment.phases import SAL

K = keras.layers


def quick(steps=100, chains=4, seed=1, jit_compile=False, **options):
    return SAL(steps=steps, chains=chains, seed=seed, jit_compile=jit_compile, **options)


def run(phase, model):
    """So short a run that warnings about what it learns mean nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return phase.run(model)
