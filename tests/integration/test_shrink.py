"""Units and channels that do nothing vanish when a model is packed; nothing else."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_compress as kc
from keras_compress._shrink import shrink


def scrambled(model, seed=0):
    """The model with every variable random, none of them zero."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(random.uniform(0.2, 1.0, variable.shape))
            if "variance" not in variable.name:
                variable.assign(variable * random.choice([-1.0, 1.0], variable.shape))
    return model


def kill(layer, units):
    """Takes all weights of these units or filters, but not their biases."""
    kernel = layer.kernel.numpy()
    kernel[..., units] = 0.0
    layer.kernel.assign(kernel)


def same_outputs(model, new, inputs=None):
    random = np.random.default_rng(1)
    if inputs is None:
        shapes = [tensor.shape[1:] for tensor in model.inputs]
        inputs = [random.normal(size=(3, *shape)).astype("float32") for shape in shapes]
        inputs = inputs[0] if len(inputs) == 1 else inputs
    expected = keras.tree.map_structure(np.asarray, model(inputs))
    found = keras.tree.map_structure(np.asarray, new(inputs))
    keras.tree.map_structure(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5),
        expected,
        found,
    )


def widths(model):
    """The number of units or filters of each layer that has a kernel, by name."""
    return {
        layer.name: layer.kernel.shape[-1]
        for layer in model.layers
        if hasattr(layer, "kernel") and type(layer) is not layers.DepthwiseConv2D
    }


def dense(activation="tanh", **kwargs):
    return scrambled(
        keras.Sequential(
            [
                keras.Input((6,)),
                layers.Dense(8, activation=activation, name="one", **kwargs),
                layers.Dense(7, activation="relu", name="two", **kwargs),
                layers.Dense(3, name="three", **kwargs),
            ]
        )
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", None])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_unit_without_weights_becomes_a_bias(activation, use_bias):
    model = dense(activation, use_bias=use_bias)
    kill(model.get_layer("one"), [1, 4])
    new = shrink(model)
    assert widths(new) == {"one": 6, "two": 7, "three": 3}
    same_outputs(model, new)


def test_what_nobody_reads_goes_with_what_only_it_read():
    model = dense()
    three, two = model.get_layer("three"), model.get_layer("two")
    kernel = three.kernel.numpy()
    kernel[[0, 2], :] = 0.0
    three.kernel.assign(kernel)
    kernel = two.kernel.numpy()
    kernel[5, [1, 3, 4, 5, 6]] = 0.0  # read by units 0 and 2 only, which nobody reads
    two.kernel.assign(kernel)
    new = shrink(model)
    assert widths(new) == {"one": 7, "two": 5, "three": 3}
    same_outputs(model, new)


def test_one_unit_stays():
    model = dense()
    kill(model.get_layer("two"), slice(None))
    new = shrink(model)
    assert widths(new) == {"one": 1, "two": 1, "three": 3}
    same_outputs(model, new)


def test_the_same_model_where_nothing_goes():
    model = dense()
    assert shrink(model) is model


def test_outputs_and_inputs_of_the_model_stay():
    model = dense()
    kill(model.get_layer("three"), [0, 1])
    kernel = model.get_layer("one").kernel.numpy()
    kernel[[0, 3]] = 0.0
    model.get_layer("one").kernel.assign(kernel)
    assert shrink(model) is model


def test_a_softmax_needs_all_its_channels():
    model = dense("softmax")
    kill(model.get_layer("one"), [1])
    assert shrink(model) is model


def test_the_source_is_left_as_it_is():
    model = dense()
    kill(model.get_layer("one"), [1, 4])
    before = [np.array(value) for value in model.get_weights()]
    shrink(model)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def image_model(padding, norm=True, pool=True):
    inputs = keras.Input((9, 9, 2))
    x = layers.Conv2D(8, 3, padding=padding, name="one", use_bias=not norm)(inputs)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    if pool:
        x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(6, 3, padding=padding, activation="tanh", name="two")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(3, name="three")(x)
    return scrambled(keras.Model(inputs, outputs))


@pytest.mark.parametrize("norm", [True, False])
def test_filters_go_with_their_normalisation(norm):
    model = image_model("valid", norm)
    kill(model.get_layer("one"), [0, 3, 7])
    kill(model.get_layer("two"), [2])
    new = shrink(model)
    assert widths(new) == {"one": 5, "two": 5, "three": 3}
    if norm:
        assert new.get_layer("norm").gamma.shape == (5,)
    same_outputs(model, new)


def test_constants_behind_zero_padding_are_merged_into_one():
    model = image_model("same", norm=False)
    one = model.get_layer("one")
    one.bias.assign([0.5, -0.3, 0.7, 0.9, 0.1, -0.2, 0.3, -0.4])
    kill(one, [0, 1, 2, 3])
    new = shrink(model)
    # ReLU makes a zero of unit 1; of 0, 2 and 3, one stays.
    assert widths(new)["one"] == 5
    same_outputs(model, new)


def test_a_scale_of_zero_lets_nothing_through():
    model = image_model("valid")
    gamma = model.get_layer("norm").gamma
    gamma.assign(gamma.numpy() * [0, 1, 1, 0, 1, 1, 1, 1])
    new = shrink(model)
    assert widths(new)["one"] == 6
    same_outputs(model, new)


def residual(kill_both):
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    y = layers.Conv2D(5, 1, activation="relu", name="squeeze")(x)
    y = layers.Conv2D(8, 3, padding="same", name="expand")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="head")(x)))
    for name in ("stem", "expand") if kill_both else ("expand",):
        kill(model.get_layer(name), [2, 5])
        bias = model.get_layer(name).bias.numpy()
        bias[[2, 5]] = 0.0
        model.get_layer(name).bias.assign(bias)
    return model


@pytest.mark.parametrize("kill_both", [True, False])
def test_the_terms_of_a_sum_go_together_or_none(kill_both):
    model = residual(kill_both)
    if not kill_both:
        assert shrink(model) is model
        return
    new = shrink(model)
    assert widths(new) == {"stem": 6, "squeeze": 5, "expand": 6, "head": 2}
    same_outputs(model, new)


def test_inside_a_block_channels_go_by_themselves():
    model = residual(False)
    kill(model.get_layer("squeeze"), [0, 1])
    model.get_layer("squeeze").bias.assign([-1.0, -0.5, 0.1, 0.2, 0.3])
    new = shrink(model)
    assert widths(new) == {"stem": 8, "squeeze": 3, "expand": 8, "head": 2}
    same_outputs(model, new)


def test_a_sum_by_an_operator():
    inputs = keras.Input((6,))
    x = layers.Dense(6, name="one")(inputs)
    y = layers.Dense(6, name="two")(inputs)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="three")(x + y)))
    kill(model.get_layer("one"), [1, 2])
    kill(model.get_layer("two"), [2, 3])
    new = shrink(model)
    assert widths(new) == {"one": 5, "two": 5, "three": 2}
    same_outputs(model, new)


def test_concatenation_keeps_the_places():
    one, two = keras.Input((6,)), keras.Input((5,))
    a = layers.Dense(4, activation="tanh", name="a")(one)
    b = layers.Dense(3, activation="tanh", name="b")(two)
    joined = layers.Concatenate()([a, b, a])
    model = keras.Model([one, two], layers.Dense(2, name="c")(joined))
    scrambled(model)
    kill(model.get_layer("a"), [0])
    kill(model.get_layer("b"), [2])
    new = shrink(model)
    assert widths(new) == {"a": 3, "b": 2, "c": 2}
    assert new.get_layer("c").kernel.shape == (8, 2)
    same_outputs(model, new)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_depthwise_convolutions_hand_channels_on(padding):
    inputs = keras.Input((7, 7, 3))
    x = layers.Conv2D(6, 1, name="one")(inputs)
    x = layers.DepthwiseConv2D(3, padding=padding, activation="relu", name="deep")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(4, 1, name="two")(x)
    outputs = layers.Dense(2, name="three")(layers.GlobalMaxPooling2D()(x))
    model = scrambled(keras.Model(inputs, outputs))
    kernel = model.get_layer("deep").kernel.numpy()
    kernel[:, :, 4] = 0.0
    model.get_layer("deep").kernel.assign(kernel)
    one = model.get_layer("one")
    kill(one, [1, 2])
    one.bias.assign([0.5, 0.5, 0.0, 0.5, 0.5, 0.5])
    new = shrink(model)
    # At padded edges, what the bias of filter 1 becomes is not constant.
    assert widths(new)["one"] == (4 if padding == "same" else 3)
    assert new.get_layer("deep").kernel.shape[2] == widths(new)["one"]
    same_outputs(model, new)


def test_a_layer_called_twice_loses_what_both_calls_can_spare():
    one, two = keras.Input((5,)), keras.Input((5,))
    a = layers.Dense(6, activation="relu", name="a")
    b = layers.Dense(4, name="b")
    model = keras.Model([one, two], [b(a(one)), b(a(two))])
    scrambled(model)
    kill(a, [0, 3])
    new = shrink(model)
    assert widths(new) == {"a": 4, "b": 4}
    same_outputs(model, new)


def test_a_layer_that_reads_different_constants_keeps_them():
    one, two = keras.Input((5,)), keras.Input((5,))
    a = layers.Dense(6, activation="relu", name="a")
    c = layers.Dense(6, activation="relu", name="c")
    b = layers.Dense(4, name="b")
    model = keras.Model([one, two], [b(a(one)), b(c(two))])
    scrambled(model)
    for layer, bias in ((a, 0.5), (c, 0.25)):
        kill(layer, [0, 3])
        layer.bias.assign([bias, 0.1, 0.1, 0.5, 0.1, 0.1])
    new = shrink(model)
    assert widths(new) == {"a": 5, "c": 5, "b": 4}
    same_outputs(model, new)


def test_different_constants_stay_where_other_layers_would_merge_them():
    one, two = keras.Input((5, 5, 3)), keras.Input((5, 5, 3))
    a = layers.Conv2D(6, 1, activation="relu", name="a")
    c = layers.Conv2D(6, 1, activation="relu", name="c")
    b = layers.Conv2D(4, 1, name="b")
    x, y = a(one), c(two)
    # Behind their padding, constants can only be merged.
    d = layers.Conv2D(2, 3, padding="same", name="d")(x)
    e = layers.Conv2D(2, 3, padding="same", name="e")(y)
    model = scrambled(keras.Model([one, two], [b(x), b(y), d, e]))
    for layer, bias in ((a, 0.5), (c, 0.9)):
        kill(layer, [0, 3])
        layer.bias.assign([bias, 0.1, 0.1, 2 * bias, 0.1, 0.1])
    assert shrink(model) is model


@pytest.mark.parametrize("make", [layers.Identity, lambda: layers.Dropout(0.5)])
def test_layers_that_do_nothing_hand_on_several_tensors(make):
    inputs = keras.Input((6,))
    a = layers.Dense(5, activation="tanh", name="a")(inputs)
    b = layers.Dense(4, activation="tanh", name="b")(inputs)
    a, b = make()([a, b])
    outputs = [layers.Dense(3, name="c")(a), layers.Dense(2, name="d")(b)]
    model = scrambled(keras.Model(inputs, outputs))
    kill(model.get_layer("a"), [0, 3])
    kill(model.get_layer("b"), [1])
    new = shrink(model)
    assert widths(new) == {"a": 3, "b": 3, "c": 3, "d": 2}
    same_outputs(model, new)


def test_other_layers_on_several_tensors_keep_them_whole():
    inputs = keras.Input((6,))
    a, b = (layers.Dense(4, name=name)(inputs) for name in ("a", "b"))
    a, b = layers.Activation("linear", name="several")([a, b])
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="c")(a + b)))
    kill(model.get_layer("a"), [1])
    with pytest.warns(UserWarning, match="1 by 'several'"):
        assert shrink(model) is model


def test_nested_models_shrink_inside():
    inner = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, activation="tanh", name="one"),
            layers.Dense(5, name="two"),
        ],
        name="inner",
    )
    inputs = keras.Input((5,))
    model = scrambled(keras.Model(inputs, layers.Dense(2)(inner(inner(inputs)))))
    kill(inner.get_layer("one"), [0, 3])
    new = shrink(model)
    assert widths(new.get_layer("inner")) == {"one": 4, "two": 5}
    same_outputs(model, new)


def grouped(groups=2, padding="valid"):
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 1, activation="relu", name="one")(inputs)
    x = layers.Conv2D(
        8, 3, groups=groups, padding=padding, activation="tanh", name="grouped"
    )(x)
    x = layers.GlobalAveragePooling2D()(x)
    return scrambled(keras.Model(inputs, layers.Dense(2, name="last")(x)))


def test_groups_stay_equal_in_size():
    model = grouped()
    kill(model.get_layer("one"), [0, 1, 6])  # two of a group, one of the other
    kill(model.get_layer("grouped"), [3, 4, 5, 6])  # one and three
    new = shrink(model)
    assert widths(new) == {"one": 6, "grouped": 6, "last": 2}
    assert new.get_layer("grouped").groups == 2
    same_outputs(model, new)


def test_constants_behind_the_padding_of_groups_are_left():
    model = grouped(padding="same")
    model.get_layer("one").bias.assign(np.linspace(0.1, 0.8, 8))
    kill(model.get_layer("one"), [0, 1, 6, 7])
    assert shrink(model) is model


def test_constants_that_others_merge_stay_where_a_group_would_get_smaller():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, padding="same", name="one")(inputs)
    y = layers.Conv2D(2, 3, padding="same", name="two")(x)
    z = layers.Conv2D(2, 3, padding="same", groups=2, name="grouped")(x)
    model = scrambled(keras.Model(inputs, [y, z]))
    kill(model.get_layer("one"), [0, 2])  # one of each group
    kernel = model.get_layer("grouped").kernel.numpy()
    kernel[:, :, 0] = 0.0  # the groups do not read channels 0 and 2
    model.get_layer("grouped").kernel.assign(kernel)
    same_outputs(model, shrink(model))
    kernel[:, :, 0, 1] = 1.0  # the second group reads channel 2
    model.get_layer("grouped").kernel.assign(kernel)
    assert shrink(model) is model


def test_a_group_goes_whole():
    model = grouped(4)
    last = model.get_layer("last")
    kernel = last.kernel.numpy()
    kernel[[2, 3, 7]] = 0.0  # nobody reads group 1, and one of group 3
    last.kernel.assign(kernel)
    new = shrink(model)
    assert widths(new) == {"one": 6, "grouped": 6, "last": 2}
    assert new.get_layer("grouped").groups == 3
    same_outputs(model, new)


def test_one_group_of_several_is_an_ordinary_convolution():
    model = grouped()
    kill(model.get_layer("grouped"), [0, 1, 2, 3])
    new = shrink(model)
    assert widths(new) == {"one": 4, "grouped": 4, "last": 2}
    assert new.get_layer("grouped").groups == 1
    same_outputs(model, new)


def test_pruned_groups_keep_their_masks():
    small = kc.swap(grouped(), kc.Prune())
    layer = small.get_layer("grouped")
    mask = layer.mask.numpy()
    mask[..., [0, 5]] = False
    mask[0, 0, 0, 1] = False
    layer.mask.assign(mask)
    new = shrink(small).get_layer("grouped")
    assert new.filters == 6
    np.testing.assert_array_equal(new.mask, mask[..., [1, 2, 3, 4, 6, 7]])
    packed = kc.pack(small)
    assert packed.get_layer("grouped").filters == 6
    same_outputs(small, packed)


def test_several_outputs_a_channel_go_with_the_channel():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 1, name="one")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kernel = model.get_layer("deep").kernel.numpy()
    kernel[:, :, 1] = 0.0
    kernel[:, :, 2, 0] = 0.0  # its other output needs the channel
    model.get_layer("deep").kernel.assign(kernel)
    new = shrink(model)
    assert widths(new) == {"one": 3, "last": 2}
    assert new.get_layer("deep").kernel.shape == (3, 3, 3, 2)
    same_outputs(model, new)
    kernel[:, :, :, 1] = 0.0
    model.get_layer("deep").kernel.assign(kernel)
    new = shrink(model)
    assert new.get_layer("deep").kernel.shape == (3, 3, 2, 1)
    same_outputs(model, new)


@pytest.mark.parametrize("padding", ["valid", "causal", "same"])
def test_in_one_dimension(padding):
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(8, 3, padding=padding, name="one")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling1D(2)(layers.ReLU()(x))
    x = layers.Conv1D(6, 3, padding=padding, activation="relu", name="two")(x)
    x = layers.DepthwiseConv1D(2, name="deep")(layers.ZeroPadding1D(1)(x))
    x = layers.Flatten()(x)
    model = scrambled(keras.Model(inputs, layers.Dense(3, name="three")(x)))
    model.get_layer("norm").beta.assign(np.full(8, 0.5))
    model.get_layer("norm").moving_mean.assign(np.zeros(8))
    kill(model.get_layer("one"), [0, 3, 7])
    model.get_layer("one").bias.assign(np.zeros(8))
    kill(model.get_layer("two"), [2])
    model.get_layer("two").bias.assign([0.3, 0.1, -0.3, 0.1, 0.1, 0.1])
    small = kc.swap(model, kc.Prune())
    packed = kc.pack(small)
    # Behind padding, three constants become one; without, none is left.
    assert widths(packed)["one"] == (5 if padding == "valid" else 6)
    assert widths(packed)["two"] == 5
    same_outputs(model, packed)


def test_squeeze_and_excitation():
    """Channels that scale others, through shapes that are written down."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, name="one")(inputs)
    x = layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)
    y = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    y = layers.Conv2D(2, 1, activation="relu", name="squeeze")(y)
    y = layers.Conv2D(8, 1, activation="hard_sigmoid", name="excite")(y)
    x = layers.Conv2D(4, 3, name="two")(layers.Multiply()([x, y]))
    x = layers.Reshape((4, 4))(layers.Cropping2D(0)(x))
    x = layers.Dense(2, name="last")(layers.Reshape((16,))(x))
    model = scrambled(keras.Model(inputs, x))
    kill(model.get_layer("one"), [1, 2, 5])
    model.get_layer("one").bias.assign([1.0, -4.0, -5.0, 1.0, 1.0, -4.0, 1.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        new = shrink(model)
    # What is 0 stays 0, however it is scaled.
    assert widths(new) == {"one": 5, "squeeze": 2, "excite": 5, "two": 4, "last": 2}
    same_outputs(model, new)


def test_shapes_that_are_written_down_are_written_anew():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(5, 1, activation="relu", name="one")(inputs)
    x = layers.Reshape((16, 5))(x)
    x = layers.Conv1D(4, 3, name="two")(x)
    x = layers.Reshape((56,))(x)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("one"), [0, 4])
    kill(model.get_layer("two"), [2])
    new = shrink(model)
    assert widths(new) == {"one": 3, "two": 3, "last": 2}
    same_outputs(model, new)


def test_channels_that_are_mixed_by_a_reshape_stay():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(6, 1, activation="relu", name="one")(inputs)
    x = layers.Reshape((48, 2), name="mixing")(x)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("one"), [0, 4])
    with pytest.warns(UserWarning, match="2 by 'mixing'"):
        assert shrink(model) is model


def test_in_time_layers_stay_whole():
    inputs = keras.Input((4, 6, 4))
    x = layers.Conv2D(8, 3, name="one")(inputs)
    x = layers.TimeDistributed(layers.Dense(5, name="inner"), name="time")(x)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    kill(model.get_layer("one"), [1])
    with pytest.warns(UserWarning, match="1 by 'time'"):
        assert shrink(model) is model


class Mixer(layers.Layer):
    """A layer of somebody's own, that may do anything."""

    def call(self, x):
        return keras.ops.cumsum(x, axis=-1)


def test_a_layer_of_ones_own_keeps_what_it_reads_and_is_named():
    inputs = keras.Input((6,))
    x = layers.Dense(5, activation="tanh", name="one")(inputs)
    x = layers.Dense(4, name="two")(Mixer(name="mixer")(x))
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="three")(x)))
    kill(model.get_layer("one"), [0, 3])
    kill(model.get_layer("two"), [1])
    with pytest.warns(UserWarning, match="2 by 'mixer'"):
        new = shrink(model)
    assert widths(new) == {"one": 5, "two": 3, "three": 2}
    same_outputs(model, new)


def test_the_report_says_what_keeps_constants():
    inputs = keras.Input((6,))
    x = layers.Dense(5, activation="tanh", name="one")(inputs)
    x = layers.Dense(4, name="two")(Mixer(name="mixer")(x))
    model = scrambled(keras.Model(inputs, x, name="whole"))
    kill(model.get_layer("one"), [0, 3])
    with pytest.warns(UserWarning, match="2 by 'mixer'"):
        packed = kc.pack(kc.swap(model, kc.Prune()))
    line = "'mixer' was left: it may do anything with the 2 channels of constants"
    assert line in str(kc.report(packed))


def test_dropout_that_acts_in_inference_keeps_its_channels():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="one")(inputs)
    x = layers.Dropout(0.5)(x, training=True)
    model = scrambled(keras.Model(inputs, layers.Dense(2, name="two")(x)))
    kill(model.get_layer("one"), [0])
    with pytest.warns(UserWarning, match="dropout"):
        assert shrink(model) is model


@pytest.mark.parametrize("pattern", ["neuron", None])
def test_packing_shrinks(pattern):
    model = image_model("same")
    small = kc.swap(model, kc.Prune(pattern=pattern))
    for layer in small.layers:
        if hasattr(layer, "mask"):
            layer.prune(sparsity=0.5)
    if pattern is None:
        mask = small.get_layer("one").mask.numpy()
        mask[..., :4] = False
        small.get_layer("one").mask.assign(mask)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        packed = kc.pack(small)
    assert packed.get_layer("one").filters <= 5
    assert (
        kc.report(packed).models[0].parameters < kc.report(small).models[0].parameters
    )
    same_outputs(small, packed)
    assert packed.get_layer("three").units == 3


def mobile():
    return keras.applications.MobileNetV2((32, 32, 3), 0.35, weights=None, classes=10)


def resnet():
    inputs = x = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(x)
    for stage, filters in enumerate((8, 16)):
        for block in range(2):
            strides = 2 if stage and not block else 1
            name = f"{stage}_{block}"
            y = layers.BatchNormalization()(x)
            y = layers.Activation("relu")(y)
            y = layers.Conv2D(filters, 3, strides, "same", name=f"a_{name}")(y)
            y = layers.BatchNormalization()(y)
            y = layers.Activation("relu")(y)
            y = layers.Conv2D(filters, 3, padding="same", name=f"b_{name}")(y)
            if strides == 2:
                x = layers.Conv2D(filters, 1, strides, name=f"short_{name}")(x)
            x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def resnext():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(16, 3, padding="same", name="stem")(inputs)
    for block in range(2):
        y = layers.Conv2D(12, 1, activation="relu", name=f"in_{block}")(x)
        y = layers.Conv2D(12, 3, padding="same", groups=4, name=f"mid_{block}")(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.Conv2D(16, 1, name=f"out_{block}")(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def sound():
    """Convolutions in one dimension, with residual sums and dilation."""
    inputs = keras.Input((64, 4))
    x = layers.Conv1D(16, 3, padding="causal", name="stem")(inputs)
    for block in range(3):
        y = layers.Conv1D(
            *(16, 3), padding="causal", dilation_rate=2**block, name=f"a_{block}"
        )(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        x = layers.Add()([x, layers.Conv1D(16, 1, name=f"b_{block}")(y)])
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def vgg():
    return keras.applications.VGG16(True, None, input_shape=(32, 32, 3), classes=10)


@pytest.mark.parametrize(
    ("make", "least"),
    [(resnet, 0.25), (resnext, 0.05), (mobile, 0.25), (sound, 0.25), (vgg, 0.6)],
)
def test_networks_of_every_kind_shrink(make, least):
    keras.utils.set_random_seed(1)
    model = make()
    small = kc.swap(model, kc.Prune(pattern="neuron"))
    for layer in small.layers[:-1]:
        if hasattr(layer, "mask"):
            layer.prune(sparsity=0.5)
    new = shrink(small)
    gone = 1.0 - new.count_params() / small.count_params()
    assert gone > least
    same_outputs(small, new)


def test_initializers_may_be_bound_to_the_shape_that_was():
    drawn = keras.initializers.Constant(np.ones((32, 16), "float32"))
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32, name="one"),
            layers.Dense(16, name="two", kernel_initializer=drawn),
        ]
    )
    scrambled(model)
    kill(model.get_layer("one"), list(range(8)))
    new = shrink(model)
    assert widths(new) == {"one": 24, "two": 16}
    same_outputs(model, new)
