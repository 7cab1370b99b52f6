"""The small networks."""

import pytest

import tf_alignment as ta


def test_small_networks():
    assert ta.models.perceptron((784, 50, 20, 10), "sigmoid").output_shape == (None, 10)
    assert ta.models.lenet((32, 32, 3)).get_layer("features").output.shape == (None, 400)
    assert ta.models.alexnet(width=0.25).get_layer("features").output.shape == (None, 64 * 36)
    assert ta.models.convnet(feedback="fa").get_layer("dense1").feedback_weights
    with pytest.raises(ValueError, match="sizes"):
        ta.models.perceptron((3,))


def test_lenet_pads_whatever_side_is_short():
    for shape in ((32, 14, 1), (14, 32, 1), (12, 12, 1)):
        assert ta.models.lenet(shape).output_shape == (None, 10)
    assert ta.models.lenet((32, 32, 1)).get_layer("conv1").padding == "valid"
