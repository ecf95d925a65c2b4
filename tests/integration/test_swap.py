"""`swap`, on models of every shape."""

import keras
import numpy as np
import pytest
from model_cases import (
    MODELS,
    SUPPORTED,
    in_time,
    nested,
    samples,
    scramble,
    sequential,
    several_inputs_and_outputs,
    shared,
)

import keras_compress as kc
from keras_compress._copies import all_layers
from keras_compress.layers.pruned import is_pruned


def pruned_names(model):
    return sorted(layer.name for layer in all_layers(model) if is_pruned(layer))


def assert_same(one, other):
    keras.tree.assert_same_structure(one, other)
    for left, right in zip(
        keras.tree.flatten(one), keras.tree.flatten(other), strict=True
    ):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("make", MODELS)
def test_every_layer_is_swapped_and_the_outputs_are_identical(make):
    model = make()
    scramble(model)
    swapped = kc.swap(model, kc.Prune())
    assert len(pruned_names(swapped)) == SUPPORTED[model.name]
    inputs = samples(model)
    assert_same(model(inputs), swapped(inputs))
    names = [layer.name for layer in all_layers(model)]
    assert [layer.name for layer in all_layers(swapped)] == names, "also of inputs"
    assert type(swapped) is type(model)


@pytest.mark.parametrize("make", MODELS)
def test_the_source_is_left_as_it_is_while_the_copy_trains(make):
    model = make()
    scramble(model)
    inputs = samples(model, 32)
    layers = all_layers(model)
    before = [variable.numpy() for variable in model.variables]
    swapped = kc.swap(model, kc.Prune())
    swapped.compile("adam", "mse")
    targets = keras.tree.map_structure(np.ones_like, model.predict(inputs, verbose=0))
    swapped.fit(inputs, targets, verbose=0)
    for layer in all_layers(swapped):
        if is_pruned(layer):
            layer.prune(sparsity=0.5)
    assert [id(x) for x in all_layers(model)] == [id(x) for x in layers]
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    assert not pruned_names(model)


def test_shared_layers_stay_shared():
    swapped = kc.swap(shared(), kc.Prune())
    assert len(swapped.weights) == 3, "one kernel, one bias, one mask"
    swapped = kc.swap(nested(), kc.Prune())
    assert sum(layer.name == "middle" for layer in swapped.layers) == 1


def test_a_copy_saves_and_loads(tmp_path):
    model = nested()
    scramble(model)
    swapped = kc.swap(model, kc.Prune())
    swapped.save(tmp_path / "model.keras")
    inputs = samples(model)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(loaded(inputs), model(inputs))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ["fc1", "fc2", "fc3"]),
        ("fc1", ["fc1"]),
        ("fc[23]", ["fc2", "fc3"]),
        ("middle/*", ["fc1", "fc2"]),
        ("middle/innermost/fc1", ["fc1"]),
        (["fc1", "fc3"], ["fc1", "fc3"]),
        (lambda layer: layer.name != "fc2", ["fc1", "fc3"]),
    ],
)
def test_where_chooses(where, expected):
    assert pruned_names(kc.swap(nested(), kc.Prune(), where=where)) == expected


def test_a_mapping_gives_each_its_own_and_the_first_match_wins():
    mapping = {"fc1": kc.Prune(pattern="2:4"), "fc*": kc.Prune(pattern="neuron")}
    swapped = kc.swap(sequential(), mapping)
    assert swapped.get_layer("fc1").pattern == "2:4"
    assert swapped.get_layer("fc2").pattern == "neuron"


def test_a_whole_path_means_that_layer_alone():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="fc")], name="sub"
    )
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4, name="fc"), inner]
    )
    small = kc.swap(model, {"fc": kc.Prune(), "sub/fc": kc.LowRank(rank=1, force=True)})
    assert type(small.layers[0]) is kc.layers.PrunedDense
    assert type(small.layers[1].layers[0]) is kc.layers.LowRankDense


def test_inside_a_wrapper_too():
    assert pruned_names(kc.swap(in_time(), kc.Prune(), where="each/*")) == ["fc1"]


def custom_loss(expected, outputs):
    return keras.ops.mean((expected - outputs) ** 2, axis=-1)


def test_compile_settings_are_carried_but_not_shared():
    model = several_inputs_and_outputs()
    metric = keras.metrics.MeanAbsoluteError()
    model.compile(
        keras.optimizers.SGD(0.3, momentum=0.5),
        loss={"left": custom_loss, "right": lambda t, y: keras.ops.mean((t - y) ** 2)},
        metrics={"left": [metric]},
        steps_per_execution=2,
    )
    swapped = kc.swap(model, kc.Prune())
    assert swapped.compiled
    assert swapped.optimizer is not model.optimizer
    assert swapped.optimizer.get_config() == model.optimizer.get_config()
    assert swapped.steps_per_execution == 2
    inputs = samples(model, 4)
    targets = model.predict(inputs, verbose=0)
    result = swapped.evaluate(inputs, targets, return_dict=True, verbose=0)
    assert result["loss"] == 0.0
    assert "left_mean_absolute_error" in result
    assert float(metric.count) == 0.0


def test_a_model_that_is_not_compiled_stays_so():
    assert not kc.swap(sequential(), kc.Prune()).compiled


def test_trainable_flags_are_carried():
    model = nested()
    model.get_layer("middle").trainable = False
    swapped = kc.swap(model, kc.Prune())
    assert not swapped.get_layer("middle").trainable
    names = [variable.path for variable in swapped.trainable_variables]
    assert [name.split("/")[-2] for name in names] == ["fc3", "fc3"]


def test_layers_of_other_kinds_keep_their_state():
    normalization = keras.layers.Normalization(name="scale")
    normalization.adapt(np.random.default_rng(0).random((64, 6)) * 5.0)
    model = keras.Sequential([keras.Input((6,)), normalization, keras.layers.Dense(2)])
    inputs = samples(model)
    assert_same(model(inputs), kc.swap(model, kc.Prune())(inputs))


def test_lookups_keep_their_vocabulary():
    text = np.array([["a"], ["b"], ["c"]])
    lookup = keras.layers.StringLookup(output_mode="one_hot", name="lookup")
    lookup.adapt(np.array(["c", "c", "b"]))
    moved = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    moved.set_vocabulary(["b", "a"])
    for layer in (lookup, moved):
        source = keras.Sequential(
            [keras.Input((1,), dtype="string"), layer, keras.layers.Dense(3)]
        )
        assert_same(source(text), kc.swap(source, kc.Prune())(text))


def own_activation(x):
    return 2.0 * x


@pytest.mark.parametrize(
    "arguments",
    [
        {"activation": own_activation},
        {"activation": lambda x: x**2},
        {"activation": keras.layers.PReLU()},
        {"kernel_initializer": lambda shape, dtype=None: keras.ops.ones(shape, dtype)},
    ],
    ids=["function", "lambda", "layer", "initializer"],
)
def test_arguments_that_are_not_registered_are_carried(arguments):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, **arguments)])
    scramble(model)
    swapped = kc.swap(model, kc.Prune())
    inputs = samples(model)
    assert_same(model(inputs), swapped(inputs))


def test_a_layer_as_activation_is_not_shared():
    activation = keras.layers.PReLU()
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation)])
    inputs = samples(model)
    model(inputs)
    activation.alpha.assign([0.25] * 4)
    swapped = kc.swap(model, kc.Prune())
    assert swapped.layers[0].activation is not activation
    assert_same(model(inputs), swapped(inputs))
    swapped.layers[0].activation.alpha.assign([9.0] * 4)
    np.testing.assert_array_equal(activation.alpha, [0.25] * 4)


def test_a_layer_thawed_inside_a_frozen_model_stays_so():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(6, name="a")(inputs)
    base = keras.Model(inputs, keras.layers.Dense(6, name="b")(hidden), name="base")
    base.trainable = False
    base.get_layer("b").trainable = True
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(base(inputs)))
    swapped = kc.swap(model, kc.Prune())
    for one in (model, swapped):
        found = [v.path.split("/")[-2] for v in one.trainable_variables]
        assert found == ["b", "b", "head", "head"], one


def test_optional_inputs_stay_optional():
    one, two = keras.Input((6,)), keras.Input((6,), optional=True, name="two")

    class Sum(keras.layers.Layer):
        def call(self, one, two=None):
            return one if two is None else one + two

        def compute_output_shape(self, one_shape, two_shape=None):
            return one_shape

    outputs = keras.layers.Dense(2)(Sum()(one, two))
    model = keras.Model([one, two], outputs)
    swapped = kc.swap(model, kc.Prune())
    inputs = np.ones((2, 6), "float32")
    assert_same(model([inputs, None]), swapped([inputs, None]))


class OwnLoss(keras.losses.Loss):
    """A loss whose config lacks its argument."""

    def __init__(self, factor):
        super().__init__(name="own")
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


class OwnRate(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that nobody registered."""

    def __call__(self, step):
        return 0.1


def test_settings_that_cannot_be_copied():
    model = sequential()
    model.compile("adam", OwnLoss(2.0))
    assert kc.swap(model, kc.Prune()).loss is model.loss
    model.compile(keras.optimizers.SGD(OwnRate()), "mse")
    with pytest.warns(UserWarning, match="'sequential' are not carried over"):
        assert not kc.swap(model, kc.Prune()).compiled


class OwnRegularizer(keras.regularizers.Regularizer):
    """Nobody registered it, and it has no config."""

    def __call__(self, x):
        return 0.1 * keras.ops.sum(x)


def test_a_layer_that_cannot_be_swapped_is_named():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(2, kernel_regularizer=OwnRegularizer())]
    )
    with pytest.raises(ValueError, match=r"cannot be swapped .* get_config"):
        kc.swap(model, kc.Prune())
    model = sequential()
    model.get_layer("fc2").enable_lora(2)
    with pytest.raises(ValueError, match=r"'fc2' \(Dense\) cannot be swapped .*`lora_"):
        kc.swap(model, kc.Prune())


class Scale(keras.layers.Layer):
    """A custom layer that nobody registered."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.weight = self.add_weight(name="weight", shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.weight * self.factor


def test_an_unregistered_custom_layer_is_copied():
    model = keras.Sequential([keras.Input((6,)), Scale(3.0), keras.layers.Dense(2)])
    scramble(model)
    inputs = samples(model)
    assert_same(model(inputs), kc.swap(model, kc.Prune())(inputs))


class Hidden(keras.layers.Layer):
    """A custom layer with a Dense that a swap cannot see."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(6, name="inner")

    def call(self, inputs):
        return self.inner(inputs)


def test_what_cannot_be_reached_is_warned_about():
    model = keras.Sequential([keras.Input((6,)), Hidden(), keras.layers.Dense(2)])
    scramble(model)
    with pytest.warns(UserWarning, match="inside custom layers .*: inner"):
        swapped = kc.swap(model, kc.Prune())
    inputs = samples(model)
    assert_same(model(inputs), swapped(inputs))


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class OwnStep(keras.Model):
    """A Functional model whose class cannot be rebuilt from inputs and outputs."""

    def __init__(self, units):
        inputs = keras.Input((6,))
        super().__init__(inputs, keras.layers.Dense(units)(inputs))


class OwnSequential(keras.Sequential):
    """A Sequential model that computes something else."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class NoConfig(keras.layers.Layer):
    """A layer that cannot be copied."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)

    def get_config(self):
        return super().get_config()


def test_models_that_cannot_be_rebuilt():
    subclassed = Subclassed()
    subclassed(np.ones((1, 6)))
    with pytest.raises(ValueError, match="`model` must be a Sequential or Functional"):
        kc.swap(subclassed, kc.Prune())
    with pytest.raises(ValueError, match="OwnStep, which cannot be rebuilt"):
        kc.swap(OwnStep(3), kc.Prune())
    own = OwnSequential([keras.Input((6,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="OwnSequential, which cannot be rebuilt"):
        kc.swap(own, kc.Prune())
    with pytest.raises(ValueError, match="`model` must be built"):
        kc.swap(keras.Sequential([keras.layers.Dense(2)]), kc.Prune())
    with pytest.raises(ValueError, match=r"`model` must be a keras\.Model"):
        kc.swap(keras.layers.Dense(2), kc.Prune())
    layer = NoConfig(lambda x: x)
    model = keras.Sequential([keras.Input((6,)), layer, keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=f"'{layer.name}' .* cannot be copied"):
        kc.swap(model, kc.Prune())


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (kc.Prune(), "nothing*"),
        (kc.Prune(), "drop"),
        (kc.Prune(), lambda layer: False),
        (kc.Prune(), ["fc1", "typo*"]),
        ({"fc1": kc.Prune(), "nothing": kc.Prune()}, None),
    ],
)
def test_nothing_matched(config, where):
    with pytest.raises(ValueError, match=r"No layer of 'sequential' .*") as error:
        kc.swap(sequential(), config, where=where)
    assert "fc1 (Dense)\n" in str(error.value)
    assert "drop (Dropout) - not supported" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": "prune"}, r"`config` must be a config such as .*='prune'"),
        ({"config": kc.Prune}, "`config` must be a config"),
        ({"config": {}}, "`config` must be a mapping with at least one"),
        ({"config": {1: kc.Prune()}}, "`config` must be a mapping from globs"),
        ({"config": {"fc*": kc.Prune()}, "where": "fc1"}, "`where` must be None when"),
        ({"config": kc.Prune(), "where": 3}, "`where` must be a glob"),
        ({"config": kc.Prune(), "where": []}, "`where` must be a glob"),
        (
            {"config": kc.Prune(), "where": keras.layers.Dense(2)},
            "`where` must be a glob",
        ),
        (
            {"config": {"fc*": kc.Prune(), "fc?": kc.Prune("2:4")}},
            "all that 'fc.' matches is taken by patterns before it",
        ),
        ({"config": kc.Prune(), "data": [1.0]}, "`data` must be None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kc.swap(sequential(), **arguments)
    with pytest.raises(ValueError, match="`pattern` must be"):
        kc.Prune(pattern="4:2")


@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "MobileNetV2"])
def test_applications_swap_all_their_layers(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    scramble_slightly(model)
    swapped = kc.swap(model, kc.Prune())
    kinds = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    wanted = [layer.name for layer in model.layers if type(layer) in kinds]
    assert pruned_names(swapped) == sorted(wanted)
    inputs = samples(model, 2)
    assert_same(model(inputs), swapped(inputs))


def scramble_slightly(model):
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.01 * random.standard_normal(variable.shape)
        variable.assign(variable.numpy() + noise)


@pytest.mark.parametrize(
    "config", [kc.Prune(), kc.Bitwise(), kc.FixedPoint(kernel=kc.QFormat(0, 7))]
)
def test_biases_belong_to_channels_where_the_width_is_their_number(config):
    # Keras 3.15 takes them for those of channels that come last.
    channels = dict.fromkeys(["first", "last"])
    for order in channels:
        shape = (2, 5, 4) if order == "first" else (5, 4, 2)
        layer = keras.layers.Conv2D(
            *(4, 3), padding="same", data_format=f"channels_{order}", name="conv"
        )
        model = keras.Sequential([keras.Input(shape), layer])
        keras.utils.set_random_seed(1)
        scramble(model)
        if order == "first":
            with pytest.warns(UserWarning, match="Keras adds the biases of conv along"):
                channels[order] = kc.swap(model, config)
        else:
            channels[order] = kc.swap(model, config)
    channels["first"].set_weights(channels["last"].get_weights())
    x = np.random.default_rng(1).standard_normal((3, 5, 4, 2)).astype("float32")
    found = np.moveaxis(channels["first"](np.moveaxis(x, -1, 1)), 1, -1)
    np.testing.assert_allclose(found, channels["last"](x), atol=1e-5)
